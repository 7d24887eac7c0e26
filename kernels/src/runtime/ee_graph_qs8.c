#include "../ee_qs8.h"
#include "ee_model.h"

static const int8_t *take_bytes(ee_tensor_reader *reader, size_t rows, size_t columns)
{
    return ee_take_tensor(reader, rows, ee_row_stride_qs8(columns));
}

static ee_affine_qs8 take_affine(ee_tensor_reader *reader, size_t outs, size_t in)
{
    ee_affine_qs8 affine;

    affine.weight = take_bytes(reader, outs, in);
    affine.scale = ee_take_floats(reader, 1, outs);
    affine.bias = ee_take_floats(reader, 1, outs);
    return affine;
}

static void take_layer(ee_tensor_reader *reader, const ee_config *config,
                       ee_conformer_weights_qs8 *layer)
{
    const size_t dim = config->dim;
    const size_t ff = config->ff;

    layer->ff1_norm_weight = ee_take_floats(reader, 1, dim);
    layer->ff1_norm_bias = ee_take_floats(reader, 1, dim);
    layer->ff1_up_weight = take_bytes(reader, ff, dim);
    layer->ff1_up_weight_scale = ee_take_floats(reader, 1, ff);
    layer->ff1_up_bias = ee_take_floats(reader, 1, ff);
    layer->ff1_down_weight = take_bytes(reader, dim, ff);
    layer->ff1_down_weight_scale = ee_take_floats(reader, 1, dim);
    layer->ff1_down_bias = ee_take_floats(reader, 1, dim);
    layer->attn_norm_weight = ee_take_floats(reader, 1, dim);
    layer->attn_norm_bias = ee_take_floats(reader, 1, dim);
    layer->attn_in_weight = take_bytes(reader, 3 * dim, dim);
    layer->attn_in_weight_scale = ee_take_floats(reader, 1, 3 * dim);
    layer->attn_in_bias = ee_take_floats(reader, 1, 3 * dim);
    layer->attn_out_weight = take_bytes(reader, dim, dim);
    layer->attn_out_weight_scale = ee_take_floats(reader, 1, dim);
    layer->attn_out_bias = ee_take_floats(reader, 1, dim);
    layer->conv_norm_weight = ee_take_floats(reader, 1, dim);
    layer->conv_norm_bias = ee_take_floats(reader, 1, dim);
    layer->conv_in_weight = take_bytes(reader, 2 * dim, dim);
    layer->conv_in_weight_scale = ee_take_floats(reader, 1, 2 * dim);
    layer->conv_in_bias = ee_take_floats(reader, 1, 2 * dim);
    layer->conv_depthwise_weight = ee_take_floats(reader, config->kernel, dim);
    layer->conv_depthwise_bias = ee_take_floats(reader, 1, dim);
    layer->conv_out_weight = take_bytes(reader, dim, dim);
    layer->conv_out_weight_scale = ee_take_floats(reader, 1, dim);
    layer->conv_out_bias = ee_take_floats(reader, 1, dim);
    layer->ff2_norm_weight = ee_take_floats(reader, 1, dim);
    layer->ff2_norm_bias = ee_take_floats(reader, 1, dim);
    layer->ff2_up_weight = take_bytes(reader, ff, dim);
    layer->ff2_up_weight_scale = ee_take_floats(reader, 1, ff);
    layer->ff2_up_bias = ee_take_floats(reader, 1, ff);
    layer->ff2_down_weight = take_bytes(reader, dim, ff);
    layer->ff2_down_weight_scale = ee_take_floats(reader, 1, dim);
    layer->ff2_down_bias = ee_take_floats(reader, 1, dim);
    layer->norm_weight = ee_take_floats(reader, 1, dim);
    layer->norm_bias = ee_take_floats(reader, 1, dim);
}

static ee_status open_graph(ee_model *model, const ee_ops *ops, void *tables,
                            ee_tensor_reader *reader)
{
    const ee_config *const config = &model->config;
    ee_weights_qs8 *const weights = &model->weights.qs8;
    ee_affine_qs8 *const heads = tables;
    ee_conformer_weights_qs8 *layer = (ee_conformer_weights_qs8 *)(heads + config->exits);

    if (ops->qs8 == NULL) {
        return EE_ERR_DTYPE;
    }
    weights->ops = ops->qs8;
    weights->heads = heads;
    weights->layers = layer;
    weights->positions = take_bytes(reader, config->max_frames, config->dim);
    weights->positions_scale = ee_take_floats(reader, 1, config->max_frames);
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

/* In turn: the output of the first convolution and what either of them needs, what a layer needs,
 * the log-probabilities and what a head needs. */
static size_t scratch_bytes(const ee_config *config, size_t frames, size_t rows,
                            const ee_team *team)
{
    const size_t dim = config->dim, kernel = config->stem_kernel, stride = config->stem_stride;
    const size_t halved = ee_stem_conv_f32_frames(frames, kernel, stride);
    const size_t conv1 = ee_stem_conv_qs8_scratch(frames, config->mels, dim, kernel, stride, team);
    const size_t conv2 = ee_stem_conv_qs8_scratch(halved, dim, dim, kernel, stride, team);
    const size_t stem = ee_size_add(ee_floats_qs8(halved, dim), ee_size_max(conv1, conv2));
    const ee_view full = {0, 0, config->kernel / 2};
    const size_t layer = ee_conformer_layer_qs8_scratch(&full, rows, dim, config->heads, config->ff,
                                                        config->kernel, team);
    const size_t head = ee_size_add(ee_floats_qs8(rows, config->vocab),
                                    ee_exit_head_qs8_scratch(rows, dim, config->vocab, team));

    return ee_size_max(ee_size_max(stem, head), layer);
}

static void run_stem(const ee_model *model, float *x, const float *features, size_t frames,
                     size_t rows, void *scratch, const ee_team *team)
{
    const ee_config *const config = &model->config;
    const ee_weights_qs8 *const w = &model->weights.qs8;
    const size_t dim = config->dim;
    const size_t halved = ee_stem_conv_f32_frames(frames, config->stem_kernel, config->stem_stride);

    float *const between = scratch;
    void *const rest = (char *)scratch + ee_floats_qs8(halved, dim);

    ee_stem_conv_qs8_c(between, features, w->conv1.weight, w->conv1.scale, w->conv1.bias, frames,
                       config->mels, dim, config->stem_kernel, config->stem_stride, rest, w->ops,
                       team);
    ee_stem_conv_qs8_c(x, between, w->conv2.weight, w->conv2.scale, w->conv2.bias, halved, dim, dim,
                       config->stem_kernel, config->stem_stride, rest, w->ops, team);

    for (size_t t = 0; t < rows; t++) {
        const int8_t *const positions = w->positions + t * ee_row_stride_qs8(dim);
        for (size_t d = 0; d < dim; d++) {
            x[t * dim + d] += (float)positions[d] * w->positions_scale[t];
        }
    }
}

static void run_layer(const ee_model *model, float *x, size_t layer, size_t rows, void *scratch,
                      const ee_team *team)
{
    const ee_config *const config = &model->config;
    const ee_view full = {0, 0, config->kernel / 2};

    ee_conformer_layer_qs8_c(x, x, &model->weights.qs8.layers[layer], NULL, &full, rows,
                             config->dim, config->heads, config->ff, config->kernel,
                             config->norm_eps, scratch, model->weights.qs8.ops, team);
}

static void run_head(const ee_model *model, const float *x, uint32_t exit, size_t rows,
                     void *scratch, const ee_team *team)
{
    const ee_affine_qs8 *const head = &model->weights.qs8.heads[exit];
    const size_t vocab = model->config.vocab;
    void *const rest = (char *)scratch + ee_floats_qs8(rows, vocab);

    ee_exit_head_qs8_c(scratch, x, head->weight, head->scale, head->bias, rows, model->config.dim,
                       vocab, rest, model->weights.qs8.ops, team);
}

const ee_graph ee_graph_qs8 = {
    .layer_bytes = sizeof(ee_conformer_weights_qs8),
    .head_bytes = sizeof(ee_affine_qs8),
    .stem_tensors = 8,
    .layer_tensors = sizeof(ee_conformer_weights_qs8) / sizeof(const float *),
    .head_tensors = 3,
    .open = open_graph,
    .scratch = scratch_bytes,
    .stem = run_stem,
    .layer = run_layer,
    .head = run_head,
};
