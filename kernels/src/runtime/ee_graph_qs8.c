#include "../common/ee_qs8.h"
#include "../common/ee_team.h"
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

/* In turn: the output of the first convolution, what a layer needs, the log-probabilities. */
static size_t scratch_bytes(const ee_config *config, size_t frames, size_t rows,
                            const ee_team *team)
{
    const size_t halved = ee_stem_conv_f32_frames(frames, config->stem_kernel, config->stem_stride);
    const size_t floats = ee_size_max(ee_size_mul(halved, config->dim),
                                      ee_size_mul(rows, config->vocab));
    const size_t layer = ee_conformer_layer_qs8_scratch(rows, config->dim, config->heads,
                                                        config->ff, config->kernel, team);

    return ee_size_max(ee_size_mul(floats, sizeof(float)), layer);
}

typedef struct {
    float *out;
    const float *x;
    const ee_affine_qs8 *conv;
    size_t channels, outs, kernel, stride;
    ee_blocks blocks;
    const ee_ops_qs8 *ops;
} stem_conv_job;

static void stem_conv_task(void *context, size_t item, size_t worker)
{
    const stem_conv_job *const j = context;
    const ee_block b = ee_block_of(&j->blocks, item, worker);
    const size_t frames = (b.count - 1) * j->stride + j->kernel;

    j->ops->stem_conv(j->out + b.first * j->outs, j->x + b.first * j->stride * j->channels,
                      j->conv->weight, j->conv->scale, j->conv->bias, frames, j->channels, j->outs,
                      j->kernel, j->stride);
}

/* A convolution of the stem, a block of output frames a task. */
static void run_stem_conv(float *out, const float *x, const ee_affine_qs8 *conv, size_t frames,
                          size_t channels, const ee_config *config, const ee_ops_qs8 *ops,
                          const ee_team *team)
{
    const size_t rows = ee_stem_conv_f32_frames(frames, config->stem_kernel, config->stem_stride);
    const stem_conv_job j = {
        out, x, conv, channels, config->dim, config->stem_kernel, config->stem_stride,
        ee_blocks_without_scratch(rows, ee_block_frames(rows, team)), ops,
    };

    ee_for_blocks(team, &j.blocks, stem_conv_task, &j);
}

static void run_stem(const ee_model *model, float *x, const float *features, size_t frames,
                     size_t rows, void *scratch, const ee_team *team)
{
    const ee_config *const config = &model->config;
    const ee_weights_qs8 *const w = &model->weights.qs8;
    const size_t dim = config->dim;
    const size_t halved = ee_stem_conv_f32_frames(frames, config->stem_kernel, config->stem_stride);

    run_stem_conv(scratch, features, &w->conv1, frames, config->mels, config, w->ops, team);
    run_stem_conv(x, scratch, &w->conv2, halved, dim, config, w->ops, team);

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

    ee_conformer_layer_qs8_c(x, x, &model->weights.qs8.layers[layer], rows, config->dim,
                             config->heads, config->ff, config->kernel, config->norm_eps, scratch,
                             model->weights.qs8.ops, team);
}

static void run_head(const ee_model *model, const float *x, uint32_t exit, size_t rows,
                     void *scratch, const ee_team *team)
{
    const ee_affine_qs8 *const head = &model->weights.qs8.heads[exit];

    ee_exit_head_qs8_c(scratch, x, head->weight, head->scale, head->bias, rows, model->config.dim,
                       model->config.vocab, model->weights.qs8.ops, team);
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
