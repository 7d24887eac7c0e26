/* The early-exit Conformer with CTC heads (arXiv:2309.09546), in float32 and in int8 mode. */
#include <string.h>

#include "../common/ee_qs8.h"
#include "../common/ee_team.h"
#include "ee_conformer.h"

/* ---- Tensors: names and order are those of the model file (weights_io/FORMAT.md) ---- */

#define TABLE(rows) {rows, sizeof(rows) / sizeof((rows)[0])}
#define MATRIX EE_ROW_MATRIX
#define FLOATS EE_ROW_FLOATS

static const ee_tensor_row STEM[] = {EE_CONFORMER_STEM_ROWS};

static const ee_tensor_row LAYER[] = {
    {"ff1.norm.weight", '1', 'D', FLOATS}, {"ff1.norm.bias", '1', 'D', FLOATS},
    {"ff1.up.weight", 'F', 'D', MATRIX}, {"ff1.up.bias", '1', 'F', FLOATS},
    {"ff1.down.weight", 'D', 'F', MATRIX}, {"ff1.down.bias", '1', 'D', FLOATS},
    {"attn.norm.weight", '1', 'D', FLOATS}, {"attn.norm.bias", '1', 'D', FLOATS},
    {"attn.in.weight", '3', 'D', MATRIX}, {"attn.in.bias", '1', '3', FLOATS},
    {"attn.out.weight", 'D', 'D', MATRIX}, {"attn.out.bias", '1', 'D', FLOATS},
    {"conv.norm.weight", '1', 'D', FLOATS}, {"conv.norm.bias", '1', 'D', FLOATS},
    {"conv.in.weight", '2', 'D', MATRIX}, {"conv.in.bias", '1', '2', FLOATS},
    {"conv.depthwise.weight", 'K', 'D', FLOATS}, {"conv.depthwise.bias", '1', 'D', FLOATS},
    {"conv.out.weight", 'D', 'D', MATRIX}, {"conv.out.bias", '1', 'D', FLOATS},
    {"ff2.norm.weight", '1', 'D', FLOATS}, {"ff2.norm.bias", '1', 'D', FLOATS},
    {"ff2.up.weight", 'F', 'D', MATRIX}, {"ff2.up.bias", '1', 'F', FLOATS},
    {"ff2.down.weight", 'D', 'F', MATRIX}, {"ff2.down.bias", '1', 'D', FLOATS},
    {"norm.weight", '1', 'D', FLOATS}, {"norm.bias", '1', 'D', FLOATS},
};

static const ee_tensor_row HEAD[] = {
    {"weight", 'V', 'D', MATRIX}, {"bias", '1', 'V', FLOATS},
};

const ee_tensor_table ee_conformer_stem_table = TABLE(STEM);
const ee_tensor_table ee_conformer_layer_table = TABLE(LAYER);
const ee_tensor_table ee_conformer_head_table = TABLE(HEAD);

size_t ee_conformer_size(const ee_config *config, uint8_t letter, uint32_t exit)
{
    (void)exit;
    switch (letter) {
    case '1':
        return 1;
    case 'A':
        return (size_t)config->stem_kernel * config->mels;
    case 'B':
        return (size_t)config->stem_kernel * config->dim;
    case 'D':
        return config->dim;
    case '2': /* values and gates */
        return 2 * (size_t)config->dim;
    case '3': /* queries, keys and values */
        return 3 * (size_t)config->dim;
    case 'F':
        return config->ff;
    case 'K':
        return config->kernel;
    case 'T':
        return config->max_frames;
    default: /* 'V' */
        return config->vocab;
    }
}

/* The members of a struct of pointers from as many pointers: a struct, so that members have the
 * types that the kernels take. */
static void take(void *members, size_t bytes, const void *const *tensors)
{
    memcpy(members, tensors, bytes);
}

/* A matrix and what belongs to it. */
typedef struct {
    const float *weight, *bias;
} affine_f32;

typedef struct {
    const int8_t *weight;
    const float *scale, *bias;
} affine_qs8;

typedef char pointers_are_one_size[sizeof(float *) == sizeof(void *)
                                           && sizeof(int8_t *) == sizeof(void *) ? 1 : -1];
typedef char layer_has_a_member_a_row[
    sizeof(ee_conformer_weights_f32) == sizeof(LAYER) / sizeof(LAYER[0]) * sizeof(void *) ? 1 : -1];

/* ---- Sizes ---- */

static ee_view view_of(const ee_config *config)
{
    const ee_view view = {config->chunk, config->left,
                          config->conv == EE_CONV_CAUSAL ? 0 : config->kernel / 2};

    return view;
}

/* Frames before its own that the depthwise convolution of a frame sees. */
static size_t before(const ee_config *config)
{
    return config->kernel - 1 - view_of(config).ahead;
}

static size_t in_chunks(const ee_config *config, size_t rows)
{
    return (rows + config->chunk - 1) / config->chunk * config->chunk;
}

/* A frame of the convolution depends on its chunk and `before` frames of others; what these are
 * depends on what they see in attention. */
size_t ee_conformer_layer_reach(const ee_config *config)
{
    return config->chunk > 0 ? in_chunks(config, before(config)) + in_chunks(config, config->left)
                             : 0;
}

static size_t kv_bytes(const ee_config *config)
{
    return ee_size_mul(ee_size_mul(config->left, config->dim), 2 * sizeof(float));
}

size_t ee_conformer_cache_bytes(const ee_config *config)
{
    const size_t gated = ee_size_mul(ee_size_mul(before(config), config->dim), sizeof(float));

    return config->chunk > 0 ? ee_whole_lines(ee_size_add(kv_bytes(config), gated)) : 0;
}

ee_status ee_conformer_check(const ee_config *config)
{
    const uint32_t sizes[] = {config->heads, config->ff, config->kernel, config->stem_kernel};

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        if (sizes[i] < 1 || sizes[i] > EE_MAX_SIZE) {
            return EE_ERR_CONFIG;
        }
    }
    /* Below 2^-40 int8 mode would meet subnormal numbers. NaN fails too. */
    const int has_eps = config->norm_eps >= 0x1p-40f && config->norm_eps <= 1.0f;

    return has_eps && config->dim % config->heads == 0 && config->kernel % 2 == 1
                   && config->stem_stride >= 1 && config->stem_stride <= config->stem_kernel
               ? EE_OK
               : EE_ERR_CONFIG;
}

ee_window ee_conformer_window(const ee_config *config)
{
    const size_t kernel = config->stem_kernel, stride = config->stem_stride;
    const ee_window window = {kernel + stride * (kernel - 1), stride * stride};

    return window;
}

/* Frames between the two convolutions of which the second one makes so many rows. */
static size_t between(const ee_config *config, size_t rows)
{
    return ee_size_add(ee_size_mul(rows - 1, config->stem_stride), config->stem_kernel);
}

size_t ee_conformer_layer_scratch(const ee_config *config, size_t rows, const ee_team *team)
{
    const ee_view view = view_of(config);

#ifndef EE_NO_F32
    if (config->dtype == EE_DTYPE_F32) {
        return ee_size_mul(ee_conformer_layer_f32_scratch(&view, rows, config->dim, config->heads,
                                                          config->ff, config->kernel, team),
                           sizeof(float));
    }
#endif
    return ee_conformer_layer_qs8_scratch(&view, rows, config->dim, config->heads, config->ff,
                                          config->kernel, team);
}

/* The log-probabilities, and what makes them. */
size_t ee_conformer_head_scratch(const ee_config *config, size_t rows, const ee_team *team)
{
#ifndef EE_NO_F32
    if (config->dtype == EE_DTYPE_F32) {
        return ee_size_mul(ee_size_mul(rows, config->vocab), sizeof(float));
    }
#endif
    return ee_size_add(ee_floats_qs8(rows, config->vocab),
                       ee_exit_head_qs8_scratch(rows, config->dim, config->vocab, team));
}

/* In turn: the output of the first convolution and what either of them needs; what a layer needs;
 * what a head needs. */
size_t ee_conformer_scratch(const ee_config *config, size_t rows, const ee_team *team)
{
    const size_t later = ee_size_max(ee_conformer_layer_scratch(config, rows, team),
                                     ee_conformer_head_scratch(config, rows, team));

#ifndef EE_NO_F32
    if (config->dtype == EE_DTYPE_F32) {
        const size_t floats = ee_size_mul(between(config, rows), config->dim);
        return ee_size_max(ee_size_mul(floats, sizeof(float)), later);
    }
#endif
    const size_t dim = config->dim, kernel = config->stem_kernel, stride = config->stem_stride;
    const size_t middle = between(config, rows);
    const size_t conv1 = ee_stem_conv_qs8_scratch(between(config, middle), config->mels, dim,
                                                  kernel, stride, team);
    const size_t conv2 = ee_stem_conv_qs8_scratch(middle, dim, dim, kernel, stride, team);
    const size_t stem = ee_size_add(ee_floats_qs8(middle, dim), ee_size_max(conv1, conv2));

    return ee_size_max(stem, later);
}

/* ---- Stem ---- */

const void *const *ee_conformer_behind_positions(const ee_model *model)
{
    const size_t tensors = model->config.dtype == EE_DTYPE_F32 ? 1 : 2;

    return model->tensors + (model->config.max_frames > 0 ? tensors : 0);
}

#ifndef EE_NO_F32

static void stem_f32(const ee_model *model, float *x, const float *inputs, size_t rows,
                     float *scratch, const ee_team *team)
{
    const ee_config *const c = &model->config;
    const size_t middle = between(c, rows);
    const ee_ops_f32 *const ops = model->ops->f32;
    affine_f32 conv[2];

    take(conv, sizeof(conv), ee_conformer_behind_positions(model));
    ee_stem_conv_f32_c(scratch, inputs, conv[0].weight, conv[0].bias,
                       between(c, middle), c->mels, c->dim,
                       c->stem_kernel, c->stem_stride, ops, team);
    ee_stem_conv_f32_c(x, scratch, conv[1].weight, conv[1].bias, middle, c->dim, c->dim,
                       c->stem_kernel, c->stem_stride, ops, team);
}

#endif

static void stem_qs8(const ee_model *model, float *x, const float *inputs, size_t rows,
                     void *scratch, const ee_team *team)
{
    const ee_config *const c = &model->config;
    const ee_ops_qs8 *const ops = model->ops->qs8;
    const size_t kernel = c->stem_kernel, stride = c->stem_stride;
    const size_t middle = between(c, rows);
    float *const convolved = scratch;
    void *const rest = (char *)scratch + ee_floats_qs8(middle, c->dim);
    affine_qs8 conv[2];

    take(conv, sizeof(conv), ee_conformer_behind_positions(model));
    ee_stem_conv_qs8_c(convolved, inputs, conv[0].weight, conv[0].scale, conv[0].bias,
                       between(c, middle), c->mels, c->dim, kernel, stride, rest, ops, team);
    ee_stem_conv_qs8_c(x, convolved, conv[1].weight, conv[1].scale, conv[1].bias, middle, c->dim,
                       c->dim, kernel, stride, rest, ops, team);
}

void ee_conformer_stem(const ee_model *model, float *x, const float *inputs, size_t frames,
                       size_t rows, void *scratch, const ee_team *team)
{
    (void)frames;
#ifndef EE_NO_F32
    if (model->config.dtype == EE_DTYPE_F32) {
        stem_f32(model, x, inputs, rows, scratch, team);
        return;
    }
#endif
    stem_qs8(model, x, inputs, rows, scratch, team);
}

void ee_conformer_place(const ee_model *model, float *x, size_t first, size_t rows)
{
    const ee_config *const c = &model->config;

    for (size_t t = 0; c->max_frames > 0 && t < rows; t++, x += c->dim) {
        if (c->dtype == EE_DTYPE_F32) {
            const float *const position =
                (const float *)model->tensors[0] + (first + t) * ee_row_stride(c->dim);
            for (size_t d = 0; d < c->dim; d++) {
                x[d] += position[d];
            }
        } else {
            const int8_t *const position =
                (const int8_t *)model->tensors[0] + (first + t) * ee_row_stride_qs8(c->dim);
            const float scale = ((const float *)model->tensors[1])[first + t];
            for (size_t d = 0; d < c->dim; d++) {
                x[d] += (float)position[d] * scale;
            }
        }
    }
}

/* ---- Layers and heads ---- */

void ee_conformer_layer(const ee_model *model, const void *const *tensors, float *x, size_t rows,
                        const ee_cache *cache, void *scratch, const ee_team *team)
{
    const ee_config *const c = &model->config;
    const ee_view view = view_of(c);
    ee_layer_past kept = {
        .kv = cache->data,
        .gated = (float *)(void *)((char *)cache->data + kv_bytes(c)),
        .kv_rows = ee_size_min(cache->held, c->left),
        .gated_rows = ee_size_min(cache->held, before(c)),
    };
    ee_layer_past *const past = c->chunk > 0 ? &kept : NULL;

#ifndef EE_NO_F32
    if (c->dtype == EE_DTYPE_F32) {
        ee_conformer_weights_f32 weights;

        take(&weights, sizeof(weights), tensors);
        ee_conformer_layer_f32_c(x, x, &weights, past, &view, rows, c->dim, c->heads, c->ff,
                                 c->kernel, c->norm_eps, scratch, model->ops->f32, team);
        return;
    }
#endif
    ee_conformer_weights_qs8 weights;

    take(&weights, sizeof(weights), tensors);
    ee_conformer_layer_qs8_c(x, x, &weights, past, &view, rows, c->dim, c->heads, c->ff, c->kernel,
                             c->norm_eps, scratch, model->ops->qs8, team);
}

void ee_conformer_head(const ee_model *model, uint32_t exit, ee_output *out, const float *x,
                       size_t rows, void *scratch, const ee_team *team)
{
    const ee_config *const c = &model->config;
    const void *const *const tensors = ee_tensors_of(model, exit, model->graph->layers(c, exit));

    out->kind = EE_OUTPUT_LOG_PROBS;
    out->columns = c->vocab;
    out->data = scratch;
#ifndef EE_NO_F32
    if (c->dtype == EE_DTYPE_F32) {
        affine_f32 head;

        take(&head, sizeof(head), tensors);
        ee_exit_head_f32_c(scratch, x, head.weight, head.bias, rows, c->dim, c->vocab,
                           model->ops->f32, team);
        return;
    }
#endif
    affine_qs8 head;

    take(&head, sizeof(head), tensors);
    ee_exit_head_qs8_c(scratch, x, head.weight, head.scale, head.bias, rows, c->dim, c->vocab,
                       (char *)scratch + ee_floats_qs8(rows, c->vocab), model->ops->qs8, team);
}

/* ---- The graph: groups are their layers, one after another ---- */

uint32_t ee_conformer_layers(const ee_config *config, uint32_t exit)
{
    return config->layers_per_exit[exit];
}

size_t ee_conformer_reach(const ee_config *config, uint32_t exit)
{
    return ee_size_mul(config->layers_per_exit[exit], ee_conformer_layer_reach(config));
}

size_t ee_conformer_group_cache_bytes(const ee_config *config, uint32_t exit)
{
    return ee_size_mul(config->layers_per_exit[exit], ee_conformer_cache_bytes(config));
}

void ee_conformer_group(const ee_model *model, uint32_t exit, float *x, size_t rows,
                        const ee_cache *cache, void *scratch, const ee_team *team)
{
    ee_cache layer = *cache;

    for (uint32_t l = 0; l < model->config.layers_per_exit[exit]; l++) {
        ee_conformer_layer(model, ee_tensors_of(model, exit, l), x, rows, &layer, scratch, team);
        layer.data = (char *)layer.data + ee_conformer_cache_bytes(&model->config);
    }
}

const ee_graph ee_graph_conformer = {
    .architecture = EE_ARCH_CONFORMER,
    .stem_tensors = &ee_conformer_stem_table,
    .layer_tensors = &ee_conformer_layer_table,
    .head_tensors = &ee_conformer_head_table,
    .check = ee_conformer_check,
    .size = ee_conformer_size,
    .window = ee_conformer_window,
    .frames = ee_as_many_rows,
    .x_rows = ee_as_many_rows,
    .layers = ee_conformer_layers,
    .reach = ee_conformer_reach,
    .cache_bytes = ee_conformer_group_cache_bytes,
    .scratch = ee_conformer_scratch,
    .stem = ee_conformer_stem,
    .place = ee_conformer_place,
    .group = ee_conformer_group,
    .head = ee_conformer_head,
};
