/* The early-exit Zipformer of the authors of the early-exit Conformer: its layers in stacks at
 * falling and rising frame rates, in float32 and in int8 mode.
 *
 * The stem makes two rows an encoder frame. Behind these, x has the rows of the stack that the
 * groups are in, every rate-th one: the sum with what went into the stack is made where the next
 * one begins, because an exit before that reads the stack alone. */
#include <string.h>

#include "../common/ee_qs8.h"
#include "../common/ee_size.h"
#include "ee_conformer.h"

enum { LAYERS = 19 };

/* Every how manieth row a layer sees; a stack is a run of one rate. */
static const uint8_t RATES[LAYERS] = {1, 1, 2, 2, 4, 4, 4, 4, 8, 8, 8, 8, 8, 4, 4, 4, 4, 2, 2};

#define MATRIX EE_ROW_MATRIX
#define FLOATS EE_ROW_FLOATS

static const ee_tensor_row STEM[] = {
    {"positions", 'T', 'D', EE_ROW_TABLE},
    {"conv.weight", 'D', 'A', MATRIX}, {"conv.bias", '1', 'D', FLOATS},
};

static const ee_tensor_table stem_table = {STEM, sizeof(STEM) / sizeof(STEM[0])};

static size_t size(const ee_config *config, uint8_t letter, uint32_t exit)
{
    return letter == 'T' ? 2 * (size_t)config->max_frames : ee_conformer_size(config, letter, exit);
}

/* The layers before an exit. */
static uint32_t layers_before(const ee_config *config, uint32_t exit)
{
    uint32_t layers = 0;

    for (uint32_t e = 0; e < exit; e++) {
        layers += config->layers_per_exit[e];
    }
    return layers;
}

static ee_status check(const ee_config *config)
{
    return config->chunk == 0 && layers_before(config, config->exits) <= LAYERS
               ? ee_conformer_check(config)
               : EE_ERR_CONFIG;
}

static ee_window window(const ee_config *config)
{
    const ee_window of_a_row = {config->stem_kernel, config->stem_stride};

    return of_a_row;
}

/* Rows 0, rate, 2 rate, ... of so many. */
static size_t at_rate(size_t rows, size_t rate)
{
    return rows / rate + (rows % rate != 0);
}

static size_t frames(const ee_config *config, size_t rows)
{
    (void)config;
    return at_rate(rows, 2);
}

/* No stack is longer than the first one at half rate. */
static size_t x_rows(const ee_config *config, size_t rows)
{
    const int has_stack = RATES[layers_before(config, config->exits) - 1] > 1;

    return has_stack ? ee_size_add(rows, at_rate(rows, 2)) : rows;
}

/* ---- Sizes ---- */

/* Fewer rows may be cut into longer blocks and need more scratch. */
static size_t layer_bytes(const ee_config *config, size_t rows, const ee_team *team)
{
    const uint32_t layers = layers_before(config, config->exits);
    size_t bytes = 0;

    for (uint32_t l = 0; l < layers; l++) {
        bytes = ee_size_max(bytes,
                            ee_conformer_layer_scratch(config, at_rate(rows, RATES[l]), team));
    }
    return bytes;
}

/* What a head is given. */
static size_t picked_bytes(const ee_config *config, size_t rows)
{
    return ee_whole_lines(
        ee_size_mul(ee_size_mul(frames(config, rows), config->dim), sizeof(float)));
}

static size_t inputs_of(const ee_config *config, size_t rows)
{
    return ee_size_add(ee_size_mul(rows - 1, config->stem_stride), config->stem_kernel);
}

static size_t scratch_bytes(const ee_config *config, size_t rows, const ee_team *team)
{
    const size_t picked = picked_bytes(config, rows);
    const size_t head = ee_conformer_head_scratch(config, frames(config, rows), team);
    size_t stem = 0;

    if (config->dtype != EE_DTYPE_F32) {
        stem = ee_stem_conv_qs8_scratch(inputs_of(config, rows), config->mels, config->dim,
                                        config->stem_kernel, config->stem_stride, team);
    }
    return ee_size_max(ee_size_max(stem, layer_bytes(config, rows, team)),
                       ee_size_add(picked, head));
}

/* ---- Stem ---- */

static void stem(const ee_model *model, float *x, const float *inputs, size_t frames, size_t rows,
                 void *scratch, const ee_team *team)
{
    const ee_config *const c = &model->config;
    const void *const *const tensors = ee_conformer_behind_positions(model);
    const size_t count = inputs_of(c, rows);

    (void)frames;

#ifndef EE_NO_F32
    if (c->dtype == EE_DTYPE_F32) {
        ee_stem_conv_f32_c(x, inputs, tensors[0], tensors[1], count, c->mels, c->dim,
                           c->stem_kernel, c->stem_stride, model->ops->f32, team);
        return;
    }
#endif
    ee_stem_conv_qs8_c(x, inputs, tensors[0], tensors[1], tensors[2], count, c->mels, c->dim,
                       c->stem_kernel, c->stem_stride, scratch, model->ops->qs8, team);
}

/* ---- Stacks ---- */

/* Behind a stack: what went into it is added. */
static void add_stack(float *x, const float *slow, size_t rows, size_t rate, size_t dim)
{
    for (size_t t = 0; t < rows; t++) {
        for (size_t d = 0; d < dim; d++) {
            x[t * dim + d] += slow[t / rate * dim + d];
        }
    }
}

static void group(const ee_model *model, uint32_t exit, float *x, size_t rows,
                  const ee_cache *cache, void *scratch, const ee_team *team)
{
    const ee_config *const c = &model->config;
    const size_t dim = c->dim;
    const uint32_t first = layers_before(c, exit);
    float *const slow = x + rows * dim;

    for (uint32_t l = 0; l < c->layers_per_exit[exit]; l++) {
        const size_t rate = RATES[first + l];
        const size_t before = first + l > 0 ? RATES[first + l - 1] : 1;

        if (rate != before) {
            if (before > 1) {
                add_stack(x, slow, rows, before, dim);
            }
            for (size_t t = 0; t < rows; t += rate) {
                memcpy(slow + t / rate * dim, x + t * dim, dim * sizeof(float));
            }
        }
        ee_conformer_layer(model, ee_tensors_of(model, exit, l), rate > 1 ? slow : x,
                           at_rate(rows, rate), cache, scratch, team);
    }
}

static void head(const ee_model *model, uint32_t exit, ee_output *out, const float *x, size_t rows,
                 void *scratch, const ee_team *team)
{
    const ee_config *const c = &model->config;
    const size_t dim = c->dim;
    const uint32_t done = layers_before(c, exit + 1);
    const size_t rate = RATES[done - 1];
    const float *const slow = x + rows * dim;
    float *const picked = scratch;

    for (size_t t = 0; t < rows; t += 2) {
        float *const to = picked + t / 2 * dim;
        const float *const full = x + t * dim;
        const float *const of_stack = slow + t / rate * dim;

        if (done == LAYERS) {
            for (size_t d = 0; d < dim; d++) {
                to[d] = full[d] + of_stack[d];
            }
        } else {
            memcpy(to, rate > 1 ? of_stack : full, dim * sizeof(float));
        }
    }
    out->hidden = picked;
    ee_conformer_head(model, exit, out, picked, frames(c, rows),
                      (char *)scratch + picked_bytes(c, rows), team);
}

const ee_graph ee_graph_zipformer = {
    .architecture = EE_ARCH_ZIPFORMER,
    .stem_tensors = &stem_table,
    .layer_tensors = &ee_conformer_layer_table,
    .head_tensors = &ee_conformer_head_table,
    .check = check,
    .size = size,
    .window = window,
    .frames = frames,
    .x_rows = x_rows,
    .layers = ee_conformer_layers,
    .reach = ee_conformer_reach,
    .cache_bytes = ee_conformer_group_cache_bytes,
    .scratch = scratch_bytes,
    .stem = stem,
    .place = ee_conformer_place,
    .group = group,
    .head = head,
};
