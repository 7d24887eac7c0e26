/* The Splitformer (arXiv:2506.18035): a Conformer with a layer at half the frame rate beside the
 * groups of some exits, in float32 and in int8 mode. */
#include <string.h>

#include "../common/ee_size.h"
#include "ee_conformer.h"

static ee_status check(const ee_config *config)
{
    for (uint32_t e = 0; e < config->exits; e++) {
        if (config->parallel[e] > 1) {
            return EE_ERR_CONFIG;
        }
    }
    /* At half rate no chunks are defined. */
    return config->chunk == 0 ? ee_conformer_check(config) : EE_ERR_CONFIG;
}

/* The last layer of an exit that has one more is that at half rate. */
static uint32_t layers(const ee_config *config, uint32_t exit)
{
    return config->layers_per_exit[exit] + config->parallel[exit];
}

/* Frames 0, 2, 4, ... of so many. */
static size_t half(size_t rows)
{
    return rows / 2 + rows % 2;
}

static size_t slow_bytes(const ee_config *config, size_t rows)
{
    return ee_whole_lines(ee_size_mul(ee_size_mul(half(rows), config->dim), sizeof(float)));
}

static int has_parallel(const ee_config *config)
{
    int found = 0;

    for (uint32_t e = 0; e < config->exits; e++) {
        found |= config->parallel[e];
    }
    return found;
}

/* The rows at half rate lie before the scratch of the layers that run meanwhile. Fewer rows may be
 * cut into longer blocks and need more scratch. */
static size_t scratch_bytes(const ee_config *config, size_t rows, const ee_team *team)
{
    const size_t one_layer = ee_size_max(ee_conformer_layer_scratch(config, rows, team),
                                         ee_conformer_layer_scratch(config, half(rows), team));
    const size_t beside = ee_size_add(slow_bytes(config, rows), one_layer);
    const size_t plain = ee_conformer_scratch(config, rows, team);

    return has_parallel(config) ? ee_size_max(plain, beside) : plain;
}

static void group(const ee_model *model, uint32_t exit, float *x, size_t rows,
                  const ee_cache *cache, void *scratch, const ee_team *team)
{
    const ee_config *const c = &model->config;
    const size_t dim = c->dim;
    float *const slow = scratch;
    void *const rest = (char *)scratch + slow_bytes(c, rows);

    if (!c->parallel[exit]) {
        ee_conformer_group(model, exit, x, rows, cache, scratch, team);
        return;
    }
    for (size_t t = 0; t < rows; t += 2) {
        memcpy(slow + t / 2 * dim, x + t * dim, dim * sizeof(float));
    }
    ee_conformer_group(model, exit, x, rows, cache, rest, team);
    ee_conformer_layer(model, ee_tensors_of(model, exit, c->layers_per_exit[exit]), slow,
                       half(rows), cache, rest, team);
    for (size_t t = 0; t < rows; t++) {
        for (size_t d = 0; d < dim; d++) {
            x[t * dim + d] += slow[t / 2 * dim + d];
        }
    }
}

const ee_graph ee_graph_splitformer = {
    .architecture = EE_ARCH_SPLITFORMER,
    .stem_tensors = &ee_conformer_stem_table,
    .layer_tensors = &ee_conformer_layer_table,
    .head_tensors = &ee_conformer_head_table,
    .own_offset = offsetof(ee_config, parallel),
    .own_bytes = sizeof(((ee_config *)0)->parallel),
    .check = check,
    .size = ee_conformer_size,
    .window = ee_conformer_window,
    .frames = ee_as_many_rows,
    .x_rows = ee_as_many_rows,
    .layers = layers,
    .reach = ee_conformer_reach,
    .cache_bytes = ee_conformer_group_cache_bytes,
    .scratch = scratch_bytes,
    .stem = ee_conformer_stem,
    .place = ee_conformer_place,
    .group = group,
    .head = ee_conformer_head,
};
