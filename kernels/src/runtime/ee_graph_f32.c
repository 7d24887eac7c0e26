#include "../common/ee_size.h"
#include "ee_model.h"

#ifndef EE_NO_F32

static ee_affine_f32 take_affine(ee_tensor_reader *reader, size_t outs, size_t in)
{
    ee_affine_f32 affine;

    affine.weight = ee_take_floats(reader, outs, in);
    affine.bias = ee_take_floats(reader, 1, outs);
    return affine;
}

static void take_layer(ee_tensor_reader *reader, const ee_config *config,
                       ee_conformer_weights_f32 *layer)
{
    const size_t dim = config->dim;
    const size_t ff = config->ff;

    layer->ff1_norm_weight = ee_take_floats(reader, 1, dim);
    layer->ff1_norm_bias = ee_take_floats(reader, 1, dim);
    layer->ff1_up_weight = ee_take_floats(reader, ff, dim);
    layer->ff1_up_bias = ee_take_floats(reader, 1, ff);
    layer->ff1_down_weight = ee_take_floats(reader, dim, ff);
    layer->ff1_down_bias = ee_take_floats(reader, 1, dim);
    layer->attn_norm_weight = ee_take_floats(reader, 1, dim);
    layer->attn_norm_bias = ee_take_floats(reader, 1, dim);
    layer->attn_in_weight = ee_take_floats(reader, 3 * dim, dim);
    layer->attn_in_bias = ee_take_floats(reader, 1, 3 * dim);
    layer->attn_out_weight = ee_take_floats(reader, dim, dim);
    layer->attn_out_bias = ee_take_floats(reader, 1, dim);
    layer->conv_norm_weight = ee_take_floats(reader, 1, dim);
    layer->conv_norm_bias = ee_take_floats(reader, 1, dim);
    layer->conv_in_weight = ee_take_floats(reader, 2 * dim, dim);
    layer->conv_in_bias = ee_take_floats(reader, 1, 2 * dim);
    layer->conv_depthwise_weight = ee_take_floats(reader, config->kernel, dim);
    layer->conv_depthwise_bias = ee_take_floats(reader, 1, dim);
    layer->conv_out_weight = ee_take_floats(reader, dim, dim);
    layer->conv_out_bias = ee_take_floats(reader, 1, dim);
    layer->ff2_norm_weight = ee_take_floats(reader, 1, dim);
    layer->ff2_norm_bias = ee_take_floats(reader, 1, dim);
    layer->ff2_up_weight = ee_take_floats(reader, ff, dim);
    layer->ff2_up_bias = ee_take_floats(reader, 1, ff);
    layer->ff2_down_weight = ee_take_floats(reader, dim, ff);
    layer->ff2_down_bias = ee_take_floats(reader, 1, dim);
    layer->norm_weight = ee_take_floats(reader, 1, dim);
    layer->norm_bias = ee_take_floats(reader, 1, dim);
}

static ee_status open_graph(ee_model *model, const ee_ops *ops, void *tables,
                            ee_tensor_reader *reader)
{
    const ee_config *const config = &model->config;
    ee_weights_f32 *const weights = &model->weights.f32;
    ee_affine_f32 *const heads = tables;
    ee_conformer_weights_f32 *layer = (ee_conformer_weights_f32 *)(heads + config->exits);

    if (ops->f32 == NULL) {
        return EE_ERR_DTYPE;
    }
    weights->ops = ops->f32;
    weights->heads = heads;
    weights->layers = layer;
    weights->positions = ee_take_floats(reader, config->max_frames, config->dim);
    weights->conv1 = take_affine(reader, config->dim, (size_t)config->stem_kernel * config->mels);
    weights->conv2 = take_affine(reader, config->dim, (size_t)config->stem_kernel * config->dim);
    for (uint32_t e = 0; e < config->exits; e++) {
        for (uint32_t l = 0; l < config->layers_per_exit[e]; l++) {
            take_layer(reader, config, layer++);
        }
        heads[e] = take_affine(reader, config->vocab, config->dim);
    }
    return EE_OK;
}

/* In turn: the output of the first convolution, what a layer needs, the log-probabilities. */
static size_t scratch_bytes(const ee_config *config, size_t frames, size_t rows,
                            const ee_team *team)
{
    const size_t halved = ee_stem_conv_f32_frames(frames, config->stem_kernel, config->stem_stride);
    size_t floats = ee_conformer_layer_f32_scratch(rows, config->dim, config->heads, config->ff,
                                                   config->kernel, team);

    floats = ee_size_max(floats, ee_size_mul(halved, config->dim));
    floats = ee_size_max(floats, ee_size_mul(rows, config->vocab));
    return ee_size_mul(floats, sizeof(float));
}

static void run_stem(const ee_model *model, float *x, const float *features, size_t frames,
                     size_t rows, void *scratch, const ee_team *team)
{
    const ee_config *const config = &model->config;
    const ee_weights_f32 *const w = &model->weights.f32;
    const size_t dim = config->dim;
    const size_t halved = ee_stem_conv_f32_frames(frames, config->stem_kernel, config->stem_stride);

    ee_stem_conv_f32_c(scratch, features, w->conv1.weight, w->conv1.bias, frames, config->mels, dim,
                       config->stem_kernel, config->stem_stride, w->ops, team);
    ee_stem_conv_f32_c(x, scratch, w->conv2.weight, w->conv2.bias, halved, dim, dim,
                       config->stem_kernel, config->stem_stride, w->ops, team);

    for (size_t t = 0; t < rows; t++) {
        for (size_t d = 0; d < dim; d++) {
            x[t * dim + d] += w->positions[t * ee_row_stride(dim) + d];
        }
    }
}

static void run_layer(const ee_model *model, float *x, size_t layer, size_t rows, void *scratch,
                      const ee_team *team)
{
    const ee_config *const config = &model->config;

    ee_conformer_layer_f32_c(x, x, &model->weights.f32.layers[layer], rows, config->dim,
                             config->heads, config->ff, config->kernel, config->norm_eps, scratch,
                             model->weights.f32.ops, team);
}

static void run_head(const ee_model *model, const float *x, uint32_t exit, size_t rows,
                     void *scratch, const ee_team *team)
{
    const ee_affine_f32 *const head = &model->weights.f32.heads[exit];

    ee_exit_head_f32_c(scratch, x, head->weight, head->bias, rows, model->config.dim,
                       model->config.vocab, model->weights.f32.ops, team);
}

const ee_graph ee_graph_f32 = {
    .layer_bytes = sizeof(ee_conformer_weights_f32),
    .head_bytes = sizeof(ee_affine_f32),
    .stem_tensors = 5,
    .layer_tensors = sizeof(ee_conformer_weights_f32) / sizeof(const float *),
    .head_tensors = 2,
    .open = open_graph,
    .scratch = scratch_bytes,
    .stem = run_stem,
    .layer = run_layer,
    .head = run_head,
};

#endif
