#include <math.h>

#include "../ee_size.h"
#include "ee_model.h"

/* An arena, from its start: the session in SESSION_BYTES, x (rows, dim) rounded up to whole cache
 * lines, scratch. The scratch serves in turn the stem, the layers and the log-probabilities, which
 * is why those are valid only until the next step. */
struct ee_session {
    const ee_model *model;
    const float *features;
    float *x;
    float *scratch;
    size_t frames;      /* of mel */
    size_t rows;        /* encoder frames */
    size_t next_layer;  /* index into model->layers */
    uint32_t exit;      /* exits reached so far */
};

/* Fixed, so that a plan made on a PC holds on a target with smaller pointers. */
enum { SESSION_BYTES = 2 * EE_MEMORY_ALIGNMENT };
typedef char session_fits[sizeof(ee_session) <= SESSION_BYTES ? 1 : -1];

size_t ee_encoder_frames(const ee_config *config, size_t frames)
{
    const size_t halved = ee_stem_conv_f32_frames(frames, config->stem_kernel, config->stem_stride);

    return ee_stem_conv_f32_frames(halved, config->stem_kernel, config->stem_stride);
}

static size_t scratch_offset(const ee_config *config, size_t rows)
{
    const size_t x_bytes = ee_size_mul(ee_size_mul(rows, config->dim), sizeof(float));
    const size_t end = ee_size_add(SESSION_BYTES, x_bytes);

    const size_t beyond_line = end % EE_MEMORY_ALIGNMENT;

    return ee_size_add(end, beyond_line > 0 ? EE_MEMORY_ALIGNMENT - beyond_line : 0);
}

static size_t scratch_floats(const ee_config *config, size_t frames, size_t rows)
{
    const size_t halved = ee_stem_conv_f32_frames(frames, config->stem_kernel, config->stem_stride);
    size_t floats = ee_conformer_layer_f32_scratch(rows, config->dim, config->heads, config->ff,
                                                   config->kernel);

    if (rows == 0) {
        return 0;
    }
    floats = ee_size_max(floats, ee_size_mul(halved, config->dim));
    return ee_size_max(floats, ee_size_mul(rows, config->vocab));
}

ee_status ee_arena_size(const ee_config *config, size_t frames, size_t *bytes)
{
    const ee_status status = ee_config_check(config);

    if (status != EE_OK) {
        return status;
    }
    if (bytes == NULL) {
        return EE_ERR_ARGUMENT;
    }
    const size_t rows = ee_encoder_frames(config, frames);
    if (rows > config->max_frames) {
        return EE_ERR_TOO_MANY_FRAMES;
    }
    const size_t scratch = ee_size_mul(scratch_floats(config, frames, rows), sizeof(float));
    const size_t total = ee_size_add(scratch_offset(config, rows), scratch);
    if (total == SIZE_MAX) {
        return EE_ERR_TOO_LARGE;
    }
    *bytes = total;
    return EE_OK;
}

static int all_finite(const float *values, size_t count)
{
    /* Zero times a finite number is zero; times anything else it is NaN, which stays. */
    float sum = 0.0f;

    for (size_t i = 0; i < count; i++) {
        sum += 0.0f * values[i];
    }
    return sum == 0.0f;
}

ee_status ee_session_open(ee_session **session, const ee_model *model, void *arena, size_t bytes,
                          const float *features, size_t frames)
{
    size_t needed;

    if (session == NULL) {
        return EE_ERR_ARGUMENT;
    }
    *session = NULL;
    if (model == NULL || arena == NULL || (features == NULL && frames > 0)) {
        return EE_ERR_ARGUMENT;
    }
    if (!ee_is_aligned(arena, EE_MEMORY_ALIGNMENT) || !ee_is_aligned(features, sizeof(float))) {
        return EE_ERR_ALIGNMENT;
    }
    const ee_config *const config = &model->config;
    const ee_status status = ee_arena_size(config, frames, &needed);
    if (status != EE_OK) {
        return status;
    }
    if (ee_size_mul(ee_size_mul(frames, config->mels), sizeof(float)) == SIZE_MAX) {
        return EE_ERR_TOO_LARGE;
    }
    if (bytes < needed) {
        return EE_ERR_ARENA_TOO_SMALL;
    }
    if (!all_finite(features, frames * config->mels)) {
        return EE_ERR_NOT_FINITE;
    }

    ee_session *const opened = arena;
    opened->model = model;
    opened->features = features;
    opened->frames = frames;
    opened->rows = ee_encoder_frames(config, frames);
    opened->x = (float *)((char *)arena + SESSION_BYTES);
    opened->scratch = (float *)((char *)arena + scratch_offset(config, opened->rows));
    opened->next_layer = 0;
    opened->exit = 0;
    *session = opened;
    return EE_OK;
}

/* features -> conv1 -> conv2, no activation between, plus positions -> x */
static void run_stem(ee_session *session)
{
    const ee_model *const model = session->model;
    const ee_config *const config = &model->config;
    const size_t dim = config->dim;
    const size_t halved = ee_stem_conv_f32_frames(session->frames, config->stem_kernel,
                                                  config->stem_stride);

    ee_stem_conv_f32_c(session->scratch, session->features, model->conv1.weight, model->conv1.bias,
                       session->frames, config->mels, dim, config->stem_kernel, config->stem_stride,
                       model->ops);
    ee_stem_conv_f32_c(session->x, session->scratch, model->conv2.weight, model->conv2.bias,
                       halved, dim, dim, config->stem_kernel, config->stem_stride, model->ops);

    for (size_t t = 0; t < session->rows; t++) {
        for (size_t d = 0; d < dim; d++) {
            session->x[t * dim + d] += model->positions[t * ee_row_stride(dim) + d];
        }
    }
}

ee_status ee_session_step(ee_session *session)
{
    if (session == NULL) {
        return EE_ERR_ARGUMENT;
    }
    const ee_model *const model = session->model;
    const ee_config *const config = &model->config;

    if (session->exit == config->exits) {
        return EE_DONE;
    }
    const uint32_t exit = session->exit++;
    if (session->rows == 0) {
        return EE_OK;
    }
    if (exit == 0) {
        run_stem(session);
    }
    for (uint32_t l = 0; l < config->layers_per_exit[exit]; l++) {
        ee_conformer_layer_f32_c(session->x, session->x, &model->layers[session->next_layer++],
                                 session->rows, config->dim, config->heads, config->ff,
                                 config->kernel, config->norm_eps, session->scratch, model->ops);
    }
    ee_exit_head_f32_c(session->scratch, session->x, model->heads[exit].weight,
                       model->heads[exit].bias, session->rows, config->dim, config->vocab,
                       model->ops);
    return EE_OK;
}

const float *ee_session_log_probs(const ee_session *session, size_t *rows)
{
    const int reached = session != NULL && session->exit > 0;

    if (rows != NULL) {
        *rows = reached ? session->rows : 0;
    }
    return reached ? session->scratch : NULL;
}

uint32_t ee_session_exit(const ee_session *session)
{
    return session != NULL ? session->exit : 0;
}
