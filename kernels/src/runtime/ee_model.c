#include "ee_model.h"

#include "../ee_size.h"

enum {
    STEM_TENSORS = 5,
    LAYER_TENSORS = sizeof(ee_conformer_weights_f32) / sizeof(const float *),
    HEAD_TENSORS = 2
};

static int in_range(uint32_t value, uint32_t limit)
{
    return value >= 1 && value <= limit;
}

ee_status ee_config_check(const ee_config *config)
{
    if (config == NULL) {
        return EE_ERR_ARGUMENT;
    }
    if (!in_range(config->exits, EE_MAX_EXITS)) {
        return EE_ERR_CONFIG;
    }
    for (uint32_t e = 0; e < config->exits; e++) {
        if (!in_range(config->layers_per_exit[e], EE_MAX_LAYERS_PER_EXIT)) {
            return EE_ERR_CONFIG;
        }
    }
    if (!in_range(config->dim, EE_MAX_SIZE) || !in_range(config->heads, EE_MAX_SIZE)
        || !in_range(config->ff, EE_MAX_SIZE) || !in_range(config->kernel, EE_MAX_SIZE)
        || !in_range(config->vocab, EE_MAX_SIZE) || !in_range(config->mels, EE_MAX_SIZE)
        || !in_range(config->stem_kernel, EE_MAX_SIZE)
        || !in_range(config->stem_stride, config->stem_kernel)
        || !in_range(config->max_frames, EE_MAX_SIZE)) {
        return EE_ERR_CONFIG;
    }
    if (config->dim % config->heads != 0 || config->kernel % 2 == 0) {
        return EE_ERR_CONFIG;
    }
    /* Written so that NaN fails too. */
    if (!(config->norm_eps > 0.0f && config->norm_eps <= 1.0f)) {
        return EE_ERR_CONFIG;
    }
    return EE_OK;
}

static size_t count_layers(const ee_config *config)
{
    size_t layers = 0;

    for (uint32_t e = 0; e < config->exits; e++) {
        layers += config->layers_per_exit[e];
    }
    return layers;
}

/* The memory of a model: the struct, the table of heads, the table of layers. */
ee_status ee_model_size(const ee_config *config, size_t *bytes)
{
    const ee_status status = ee_config_check(config);

    if (status != EE_OK) {
        return status;
    }
    if (bytes == NULL) {
        return EE_ERR_ARGUMENT;
    }
    *bytes = sizeof(ee_model) + config->exits * sizeof(ee_affine_f32)
             + count_layers(config) * sizeof(ee_conformer_weights_f32);
    return EE_OK;
}

/* Reads the tensors in order; the first thing wrong stays in `status`. */
typedef struct {
    const ee_tensor *next;
    ee_status status;
} tensor_reader;

/* The data of the next tensor, which should be (rows, columns); a vector has one row. */
static const float *take(tensor_reader *reader, size_t rows, size_t columns)
{
    const ee_tensor *const tensor = reader->next++;
    const size_t floats = ee_size_mul(rows, ee_row_stride(columns));

    if (reader->status == EE_OK) {
        if (tensor->data == NULL || tensor->bytes != ee_size_mul(floats, sizeof(float))) {
            reader->status = EE_ERR_TENSOR_SIZE;
        } else if (!ee_is_aligned(tensor->data, EE_TENSOR_ALIGNMENT)) {
            reader->status = EE_ERR_ALIGNMENT;
        }
    }
    return (const float *)tensor->data;
}

static ee_affine_f32 take_affine(tensor_reader *reader, size_t outs, size_t in)
{
    ee_affine_f32 affine;

    affine.weight = take(reader, outs, in);
    affine.bias = take(reader, 1, outs);
    return affine;
}

static void take_layer(tensor_reader *reader, const ee_config *config,
                       ee_conformer_weights_f32 *layer)
{
    const size_t dim = config->dim;
    const size_t ff = config->ff;

    layer->ff1_norm_weight = take(reader, 1, dim);
    layer->ff1_norm_bias = take(reader, 1, dim);
    layer->ff1_up_weight = take(reader, ff, dim);
    layer->ff1_up_bias = take(reader, 1, ff);
    layer->ff1_down_weight = take(reader, dim, ff);
    layer->ff1_down_bias = take(reader, 1, dim);
    layer->attn_norm_weight = take(reader, 1, dim);
    layer->attn_norm_bias = take(reader, 1, dim);
    layer->attn_in_weight = take(reader, 3 * dim, dim);
    layer->attn_in_bias = take(reader, 1, 3 * dim);
    layer->attn_out_weight = take(reader, dim, dim);
    layer->attn_out_bias = take(reader, 1, dim);
    layer->conv_norm_weight = take(reader, 1, dim);
    layer->conv_norm_bias = take(reader, 1, dim);
    layer->conv_in_weight = take(reader, 2 * dim, dim);
    layer->conv_in_bias = take(reader, 1, 2 * dim);
    layer->conv_depthwise_weight = take(reader, config->kernel, dim);
    layer->conv_depthwise_bias = take(reader, 1, dim);
    layer->conv_out_weight = take(reader, dim, dim);
    layer->conv_out_bias = take(reader, 1, dim);
    layer->ff2_norm_weight = take(reader, 1, dim);
    layer->ff2_norm_bias = take(reader, 1, dim);
    layer->ff2_up_weight = take(reader, ff, dim);
    layer->ff2_up_bias = take(reader, 1, ff);
    layer->ff2_down_weight = take(reader, dim, ff);
    layer->ff2_down_bias = take(reader, 1, dim);
    layer->norm_weight = take(reader, 1, dim);
    layer->norm_bias = take(reader, 1, dim);
}

ee_status ee_model_open(void *memory, size_t size, const ee_config *config,
                        const ee_tensor *tensors, size_t count, const ee_ops_f32 *ops,
                        ee_model **model)
{
    size_t needed;

    if (model == NULL) {
        return EE_ERR_ARGUMENT;
    }
    *model = NULL;

    const ee_status status = ee_model_size(config, &needed);
    if (status != EE_OK) {
        return status;
    }
    if (memory == NULL || tensors == NULL || ops == NULL) {
        return EE_ERR_ARGUMENT;
    }
    if (!ee_is_aligned(memory, EE_MEMORY_ALIGNMENT)) {
        return EE_ERR_ALIGNMENT;
    }
    if (size < needed) {
        return EE_ERR_MODEL_TOO_SMALL;
    }
    const size_t layers = count_layers(config);
    if (count != STEM_TENSORS + layers * LAYER_TENSORS + config->exits * HEAD_TENSORS) {
        return EE_ERR_TENSOR_COUNT;
    }

    ee_model *const opened = memory;
    ee_affine_f32 *const heads = (ee_affine_f32 *)(opened + 1);
    ee_conformer_weights_f32 *layer = (ee_conformer_weights_f32 *)(heads + config->exits);
    tensor_reader reader = {tensors, EE_OK};

    opened->config = *config;
    opened->ops = ops;
    opened->heads = heads;
    opened->layers = layer;
    opened->positions = take(&reader, config->max_frames, config->dim);
    opened->conv1 = take_affine(&reader, config->dim, (size_t)config->stem_kernel * config->mels);
    opened->conv2 = take_affine(&reader, config->dim, (size_t)config->stem_kernel * config->dim);
    for (uint32_t e = 0; e < config->exits; e++) {
        for (uint32_t l = 0; l < config->layers_per_exit[e]; l++) {
            take_layer(&reader, config, layer++);
        }
        heads[e] = take_affine(&reader, config->vocab, config->dim);
    }
    if (reader.status == EE_OK) {
        *model = opened;
    }
    return reader.status;
}
