#include "ee_model.h"

#include "../common/ee_size.h"

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
    if (config->dtype != EE_DTYPE_F32 && config->dtype != EE_DTYPE_QS8) {
        return EE_ERR_CONFIG;
    }
    return ee_graph_for(config) != NULL ? EE_OK : EE_ERR_DTYPE;
}

const ee_graph *ee_graph_for(const ee_config *config)
{
    if (config->dtype == EE_DTYPE_QS8) {
        return &ee_graph_qs8;
    }
#ifdef EE_NO_F32
    return NULL;
#else
    return &ee_graph_f32;
#endif
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
    const ee_graph *const graph = ee_graph_for(config);
    *bytes = sizeof(ee_model) + config->exits * graph->head_bytes
             + count_layers(config) * graph->layer_bytes;
    return EE_OK;
}

const void *ee_take_tensor(ee_tensor_reader *reader, size_t rows, size_t row_bytes)
{
    const ee_tensor *const tensor = reader->next++;

    if (reader->status == EE_OK) {
        if (tensor->data == NULL || tensor->bytes != ee_size_mul(rows, row_bytes)) {
            reader->status = EE_ERR_TENSOR_SIZE;
        } else if (!ee_is_aligned(tensor->data, EE_TENSOR_ALIGNMENT)) {
            reader->status = EE_ERR_ALIGNMENT;
        }
    }
    return tensor->data;
}

const float *ee_take_floats(ee_tensor_reader *reader, size_t rows, size_t columns)
{
    return ee_take_tensor(reader, rows, ee_size_mul(ee_row_stride(columns), sizeof(float)));
}

ee_status ee_model_open(void *memory, size_t size, const ee_config *config,
                        const ee_tensor *tensors, size_t count, const ee_ops *ops,
                        ee_model **model)
{
    size_t needed;

    if (model == NULL) {
        return EE_ERR_ARGUMENT;
    }
    *model = NULL;

    ee_status status = ee_model_size(config, &needed);
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
    const ee_graph *const graph = ee_graph_for(config);
    if (count != graph->stem_tensors + count_layers(config) * graph->layer_tensors
                     + config->exits * graph->head_tensors) {
        return EE_ERR_TENSOR_COUNT;
    }

    ee_model *const opened = memory;
    ee_tensor_reader reader = {tensors, EE_OK};

    opened->config = *config;
    opened->graph = graph;
    status = graph->open(opened, ops, opened + 1, &reader);
    if (status == EE_OK) {
        status = reader.status;
    }
    if (status == EE_OK) {
        *model = opened;
    }
    return status;
}
