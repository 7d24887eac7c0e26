/* WavLM (arXiv:2110.13900) with CTC heads at exits: wav2vec 2.0 whose scores of attention have a
 * gated bias by the distance of key and query. */
#include "../common/ee_size.h"
#include "ee_wav2vec2.h"

static ee_status check(const ee_config *config)
{
    return config->buckets >= 4 && config->buckets <= EE_MAX_SIZE && config->buckets % 4 == 0
                   && config->max_distance > config->buckets / 4
                   && config->max_distance <= EE_MAX_SIZE
               ? ee_wav2vec2_check(config)
               : EE_ERR_CONFIG;
}

/* ln x for x from 1 on, to the last bits: halved to below 2, then the series of artanh. */
static double natural_log(double x)
{
    double halvings = 0.0, sum = 0.0;

    while (x >= 2.0) {
        x /= 2.0;
        halvings += 1.0;
    }
    const double z = (x - 1.0) / (x + 1.0); /* below 1/3 */
    for (int n = 35; n > 0; n -= 2) {
        sum = sum * z * z + 1.0 / n;
    }
    return halvings * 0.69314718055994530942 + 2.0 * z * sum;
}

/* The row of the table for a distance, key less query: half of them for keys after the query; of
 * each half, half for distances one by one and half for logarithmic steps (ee_ref/families/wavlm.py).
 */
static size_t bucket_of(const ee_config *config, size_t distance, int is_after)
{
    const size_t half = config->buckets / 2, exact = config->buckets / 4;
    const size_t before = is_after ? half : 0;

    if (distance < exact) {
        return before + distance;
    }
    const double steps = natural_log((double)distance / (double)exact)
                         / natural_log((double)config->max_distance / (double)exact)
                         * (double)(half - exact);
    /* Where a step begins at a whole distance, rounding must not miss it. */
    const size_t step = distance >= config->max_distance ? half : (size_t)(steps + 1e-9);
    return before + ee_size_min(half - 1, exact + step);
}

/* distances (heads, 2 rows - 1) of the table of the stem, its last tensor. */
static void spread(const ee_model *model, float *distances, size_t rows)
{
    const ee_config *const c = &model->config;
    const size_t stride = ee_row_stride(c->heads), count = 2 * rows - 1;
    const float *const table = ee_tensors_of(model, 0, 0)[-1];

    for (size_t n = 0; n < count; n++) {
        const int is_after = n + 1 > rows;
        const size_t distance = is_after ? n + 1 - rows : rows - 1 - n;
        const float *const row = table + bucket_of(c, distance, is_after) * stride;

        for (size_t h = 0; h < c->heads; h++) {
            distances[h * count + n] = row[h];
        }
    }
}

/* The distances lie before the scratch of what wav2vec 2.0 does. */
static size_t distance_bytes(const ee_config *config, size_t rows)
{
    const size_t each = ee_size_add(rows, rows - 1);

    return ee_whole_lines(ee_size_mul(ee_size_mul(each, config->heads), sizeof(float)));
}

static size_t scratch_bytes(const ee_config *config, size_t rows, const ee_team *team)
{
    return ee_wav2vec2_scratch(config, rows, distance_bytes(config, rows), team);
}

static void group(const ee_model *model, uint32_t exit, float *x, size_t rows,
                  const ee_cache *cache, void *scratch, const ee_team *team)
{
    void *const rest = (char *)scratch + distance_bytes(&model->config, rows);

    (void)cache;
    spread(model, scratch, rows);
    ee_wav2vec2_group(model, exit, x, rows, scratch, rest, team);
}

const ee_graph ee_graph_wavlm = {
    .architecture = EE_ARCH_WAVLM,
    .stem_tensors = &ee_wav2vec2_stem_table,
    .layer_tensors = &ee_wav2vec2_layer_table,
    .head_tensors = &ee_wav2vec2_head_table,
    .own_offset = EE_WAV2VEC2_OFFSET,
    .own_bytes = EE_WAV2VEC2_BYTES,
    .is_whole = 1,
    .check = check,
    .size = ee_wav2vec2_size,
    .window = ee_wav2vec2_window,
    .frames = ee_as_many_rows,
    .x_rows = ee_as_many_rows,
    .layers = ee_wav2vec2_layers,
    .reach = ee_wav2vec2_nothing,
    .cache_bytes = ee_wav2vec2_nothing,
    .scratch = scratch_bytes,
    .stem = ee_wav2vec2_stem,
    .place = ee_wav2vec2_place,
    .group = group,
    .head = ee_wav2vec2_head,
};
