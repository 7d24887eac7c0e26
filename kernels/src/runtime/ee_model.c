#include "../common/ee_memory.h"
#include "../common/ee_qs8.h"
#include "ee_graph.h"

static int in_range(uint32_t value, uint32_t limit)
{
    return value >= 1 && value <= limit;
}

/* What a frame sees of the others, and whether there is a table of positions. */
static int is_view(const ee_config *config)
{
    const int limited = config->chunk > 0;
    const int counted = config->positions == EE_POSITIONS_TABLE;

    return config->chunk <= EE_MAX_SIZE && config->left <= EE_MAX_SIZE
           && (limited || config->left == 0) && config->conv <= EE_CONV_CHUNK
           && (limited ? config->conv != EE_CONV_CENTRED : config->conv != EE_CONV_CHUNK)
           && config->positions <= EE_POSITIONS_NONE
           && (counted ? in_range(config->max_frames, EE_MAX_SIZE) : config->max_frames == 0);
}

ee_status ee_config_check(const ee_config *config)
{
    if (config == NULL) {
        return EE_ERR_ARGUMENT;
    }
    const ee_graph *const graph = ee_graph_for(config->architecture);
    if (graph == NULL || !in_range(config->exits, EE_MAX_EXITS)) {
        return EE_ERR_CONFIG;
    }
    for (uint32_t e = 0; e < config->exits; e++) {
        if (!in_range(config->layers_per_exit[e], EE_MAX_LAYERS_PER_EXIT)) {
            return EE_ERR_CONFIG;
        }
    }
    if (!in_range(config->dim, EE_MAX_SIZE) || !in_range(config->vocab, EE_MAX_SIZE)
        || !in_range(config->mels, EE_MAX_SIZE) || !is_view(config)
        || (config->dtype != EE_DTYPE_F32 && config->dtype != EE_DTYPE_QS8)) {
        return EE_ERR_CONFIG;
    }
    const ee_status status = graph->check(config);
#ifdef EE_NO_F32
    if (status == EE_OK && config->dtype == EE_DTYPE_F32) {
        return EE_ERR_DTYPE;
    }
#endif
    return status;
}

const ee_graph *ee_graph_for(uint32_t architecture)
{
    static const ee_graph *const graphs[] = {
        &ee_graph_conformer, &ee_graph_splitformer, &ee_graph_wav2vec2, &ee_graph_wavlm,
        &ee_graph_zipformer, &ee_graph_conformer_lstm, &ee_graph_aed,
    };

    for (size_t i = 0; i < sizeof(graphs) / sizeof(graphs[0]); i++) {
        if (graphs[i]->architecture == architecture) {
            return graphs[i];
        }
    }
    return NULL;
}

/* ---- Tensors: those of the stem, then for every exit those of its layers, of its head, and of the
 * layers and the head of its decoder ---- */

static size_t parts_of(const ee_config *config, const ee_tensor_row *row, uint32_t exit)
{
    const ee_graph *const graph = ee_graph_for(config->architecture);

    if (graph->size(config, row->rows, exit) == 0) {
        return 0;
    }
    return row->kind != EE_ROW_FLOATS && config->dtype == EE_DTYPE_QS8 ? 2 : 1;
}

static size_t count_in(const ee_config *config, const ee_tensor_table *table, uint32_t exit)
{
    size_t count = 0;

    for (size_t i = 0; i < table->count; i++) {
        count += parts_of(config, &table->rows[i], exit);
    }
    return count;
}

/* The tensors of one layer of the decoder of an exit, and those of all its layers. */
static size_t count_in_decoder_layer(const ee_config *config, uint32_t exit)
{
    const ee_graph *const graph = ee_graph_for(config->architecture);

    return graph->decoder_tensors != NULL ? count_in(config, graph->decoder_tensors, exit) : 0;
}

static size_t count_in_decoder_layers(const ee_config *config, uint32_t exit)
{
    const size_t layer = count_in_decoder_layer(config, exit);

    return layer > 0 ? config->decoder_layers * layer : 0;
}

/* Those of an exit behind its layers: of its CTC head, and of its decoder with a head of its own. */
static size_t count_behind_layers(const ee_config *config, uint32_t exit)
{
    const ee_graph *const graph = ee_graph_for(config->architecture);
    const size_t head = count_in(config, graph->head_tensors, exit);
    const size_t decoder = count_in_decoder_layers(config, exit);

    return decoder > 0 ? head + decoder + head : head;
}

/* The tensors before a part of an exit: see ee_tensors_of. */
static size_t count_before(const ee_config *config, uint32_t exit, uint32_t part)
{
    const ee_graph *const graph = ee_graph_for(config->architecture);
    const uint32_t own = exit < config->exits ? graph->layers(config, exit) : 0;
    size_t layers = part < own ? part : own;
    size_t count = count_in(config, graph->stem_tensors, 0);

    for (uint32_t e = 0; e < exit; e++) {
        layers += graph->layers(config, e);
        count += count_behind_layers(config, e);
    }
    if (part > own) {
        count += count_in(config, graph->head_tensors, exit)
                 + (part - own - 1) * count_in_decoder_layer(config, exit);
    }
    return count + layers * count_in(config, graph->layer_tensors, 0);
}

size_t ee_tensor_count(const ee_config *config)
{
    return count_before(config, config->exits, 0);
}

const void *const *ee_tensors_of(const ee_model *model, uint32_t exit, uint32_t part)
{
    return model->tensors + count_before(&model->config, exit, part);
}

/* The tensor `number` of a table. */
static void describe(ee_tensor_info *info, const ee_config *config, const ee_tensor_table *table,
                     uint32_t exit, size_t number)
{
    const ee_graph *const graph = ee_graph_for(config->architecture);
    const ee_tensor_row *row = table->rows;

    for (size_t parts; number >= (parts = parts_of(config, row, exit)); row++) {
        number -= parts;
    }
    info->name = row->name;
    info->rows = graph->size(config, row->rows, exit);
    info->columns = graph->size(config, row->columns, exit);
    info->kind = EE_TENSOR_FLOATS;
    if (number == 1) {
        info->kind = EE_TENSOR_SCALES;
        info->columns = info->rows;
        info->rows = 1;
    } else if (row->kind != EE_ROW_FLOATS && config->dtype == EE_DTYPE_QS8) {
        info->kind = EE_TENSOR_INT8;
    }
    info->bytes = info->kind == EE_TENSOR_INT8
                      ? ee_size_mul(info->rows, ee_row_stride_qs8(info->columns))
                      : ee_size_mul(ee_size_mul(info->rows, ee_row_stride(info->columns)),
                                    sizeof(float));
}

ee_status ee_tensor_at(const ee_config *config, size_t number, ee_tensor_info *info)
{
    const ee_status status = ee_config_check(config);

    if (status != EE_OK) {
        return status;
    }
    if (info == NULL) {
        return EE_ERR_ARGUMENT;
    }
    const ee_graph *const graph = ee_graph_for(config->architecture);
    const size_t in_stem = count_in(config, graph->stem_tensors, 0);
    const size_t in_layer = count_in(config, graph->layer_tensors, 0);
    size_t rest = number;

    info->exit = 0;
    info->layer = 0;
    if (rest < in_stem) {
        describe(info, config, graph->stem_tensors, 0, rest);
        return EE_OK;
    }
    rest -= in_stem;
    for (uint32_t e = 0; e < config->exits; e++) {
        const uint32_t layers = graph->layers(config, e);
        const size_t in_layers = layers * in_layer;
        const size_t in_head = count_in(config, graph->head_tensors, e);
        const size_t in_decoder = count_in_decoder_layers(config, e);

        info->exit = e + 1;
        if (rest < in_layers) {
            info->layer = (uint32_t)(rest / in_layer) + 1;
            describe(info, config, graph->layer_tensors, e, rest % in_layer);
            return EE_OK;
        }
        rest -= in_layers;
        if (rest < in_head) {
            describe(info, config, graph->head_tensors, e, rest);
            return EE_OK;
        }
        rest -= in_head;
        if (in_decoder == 0) {
            continue;
        }
        if (rest < in_decoder) {
            const size_t in_one = count_in_decoder_layer(config, e);

            info->layer = layers + (uint32_t)(rest / in_one) + 1;
            describe(info, config, graph->decoder_tensors, e, rest % in_one);
            return EE_OK;
        }
        rest -= in_decoder;
        if (rest < in_head) {
            describe(info, config, graph->head_tensors, e, rest);
            return EE_OK;
        }
        rest -= in_head;
    }
    return EE_DONE;
}

/* ---- Opening ---- */

ee_status ee_model_size(const ee_config *config, size_t *bytes)
{
    const ee_status status = ee_config_check(config);

    if (status != EE_OK) {
        return status;
    }
    if (bytes == NULL) {
        return EE_ERR_ARGUMENT;
    }
    *bytes = sizeof(ee_model) + ee_tensor_count(config) * sizeof(const void *);
    return EE_OK;
}

ee_status ee_model_begin(void *memory, size_t size, const ee_config *config, const ee_ops *ops,
                         ee_model **model)
{
    size_t needed;
    ee_status status = ee_model_size(config, &needed);

    if (status == EE_OK && ops == NULL) {
        status = EE_ERR_ARGUMENT;
    }
    if (status == EE_OK) {
        status = ee_check_memory(memory, size, needed, EE_ERR_MODEL_TOO_SMALL);
    }
    if (status != EE_OK) {
        return status;
    }
    if (config->dtype == EE_DTYPE_QS8 ? ops->qs8 == NULL : ops->f32 == NULL) {
        return EE_ERR_DTYPE;
    }
    ee_model *const begun = memory;

    begun->config = *config;
    begun->graph = ee_graph_for(config->architecture);
    begun->ops = ops;
    begun->tensors = (const void **)(begun + 1);
    *model = begun;
    return EE_OK;
}

ee_status ee_model_open(void *memory, size_t size, const ee_config *config,
                        const ee_tensor *tensors, size_t count, const ee_ops *ops,
                        ee_model **model)
{
    ee_model *opened;

    if (model == NULL) {
        return EE_ERR_ARGUMENT;
    }
    *model = NULL;
    const ee_status status = ee_model_begin(memory, size, config, ops, &opened);
    if (status != EE_OK) {
        return status;
    }
    if (tensors == NULL) {
        return EE_ERR_ARGUMENT;
    }
    if (count != ee_tensor_count(config)) {
        return EE_ERR_TENSOR_COUNT;
    }
    for (size_t i = 0; i < count; i++) {
        ee_tensor_info info;

        (void)ee_tensor_at(config, i, &info);
        if (tensors[i].data == NULL || tensors[i].bytes != info.bytes) {
            return EE_ERR_TENSOR_SIZE;
        }
        if (!ee_is_aligned(tensors[i].data, EE_TENSOR_ALIGNMENT)) {
            return EE_ERR_ALIGNMENT;
        }
        opened->tensors[i] = tensors[i].data;
    }
    *model = opened;
    return EE_OK;
}

/* ---- Packing ---- */

/* The ops of a model that is packed; they lie behind its matrices. */
typedef struct {
    ee_ops ops;
    union {
        ee_ops_f32 f32;
        ee_ops_qs8 qs8;
    } own;
} packed_ops;

/* Bytes of the panels of a matrix. */
static size_t panel_bytes(const ee_model *model, size_t in, size_t outs)
{
    const int is_qs8 = model->config.dtype == EE_DTYPE_QS8;
    const size_t panel = is_qs8 ? model->ops->qs8->panel : model->ops->f32->panel;
    const size_t each_output = is_qs8 ? ee_packed_stride_qs8(in) : in * sizeof(float);

    return (outs + panel - 1) / panel * panel * each_output;
}

static void pack_matrix(const ee_model *model, void *to, const void *matrix, size_t in, size_t outs)
{
    if (model->config.dtype == EE_DTYPE_QS8) {
        model->ops->qs8->pack(to, matrix, in, outs, ee_row_stride_qs8(in));
    } else {
        model->ops->f32->pack(to, matrix, in, outs, ee_row_stride(in));
    }
}

/* Packs the matrices of a table, one behind the other, and puts them in the place of the tensors;
 * with `to` NULL, does nothing of it. Returns the bytes. */
static size_t pack_table(const ee_model *model, const ee_tensor_table *table, uint32_t exit,
                         const void **tensors, char *to)
{
    const ee_config *const config = &model->config;
    size_t bytes = 0;

    for (size_t i = 0; i < table->count; i++) {
        const ee_tensor_row *const row = &table->rows[i];
        const size_t outs = model->graph->size(config, row->rows, exit);
        const size_t in = model->graph->size(config, row->columns, exit);

        if (row->kind == EE_ROW_MATRIX && outs > 0) {
            if (to != NULL) {
                pack_matrix(model, to + bytes, *tensors, in, outs);
                *tensors = to + bytes;
            }
            bytes += panel_bytes(model, in, outs);
        }
        tensors += parts_of(config, row, exit);
    }
    return bytes;
}

static size_t pack_all(const ee_model *model, char *to)
{
    const ee_graph *const graph = model->graph;
    const ee_config *const config = &model->config;
    const void **tensors = model->tensors;
    size_t bytes = 0;

#define PACK(table, exit)                                                                 \
    (bytes += pack_table(model, table, exit, tensors, to != NULL ? to + bytes : NULL),    \
     tensors += count_in(config, table, exit))
    PACK(graph->stem_tensors, 0);
    for (uint32_t e = 0; e < config->exits; e++) {
        for (uint32_t l = 0; l < graph->layers(config, e); l++) {
            PACK(graph->layer_tensors, e);
        }
        PACK(graph->head_tensors, e);
        for (uint32_t l = 0; graph->decoder_tensors != NULL && l < config->decoder_layers; l++) {
            PACK(graph->decoder_tensors, e);
        }
        if (graph->decoder_tensors != NULL) {
            PACK(graph->head_tensors, e);
        }
    }
#undef PACK
    return bytes;
}

/* Values begin 2 * dim rows down the matrix of queries, keys and values: so a panel has to. In a
 * decoder so do keys, dim rows down. */
static int is_packable(const ee_model *model)
{
    const ee_ops *const ops = model->ops;
    const size_t multiple = model->graph->decoder_tensors != NULL ? 32 : 16;

    return model->config.dim % multiple == 0
           && (model->config.dtype == EE_DTYPE_QS8 ? ops->qs8->pack != NULL && !ops->qs8->is_packed
                                                   : ops->f32->pack != NULL && !ops->f32->is_packed);
}

ee_status ee_model_packed_size(const ee_model *model, size_t *bytes)
{
    if (model == NULL || bytes == NULL) {
        return EE_ERR_ARGUMENT;
    }
    *bytes = is_packable(model) ? pack_all(model, NULL) + sizeof(packed_ops) : 0;
    return EE_OK;
}

ee_status ee_model_pack(ee_model *model, void *memory, size_t bytes)
{
    size_t needed;
    ee_status status = ee_model_packed_size(model, &needed);

    if (status != EE_OK || needed == 0) {
        return status;
    }
    status = ee_check_memory(memory, bytes, needed, EE_ERR_MODEL_TOO_SMALL);
    if (status != EE_OK) {
        return status;
    }
    packed_ops *const packed = (void *)((char *)memory + pack_all(model, memory));

    packed->ops = *model->ops;
    if (model->config.dtype == EE_DTYPE_QS8) {
        packed->own.qs8 = *model->ops->qs8;
        packed->own.qs8.is_packed = 1;
        packed->ops.qs8 = &packed->own.qs8;
    } else {
        packed->own.f32 = *model->ops->f32;
        packed->own.f32.is_packed = 1;
        packed->ops.f32 = &packed->own.f32;
    }
    model->ops = &packed->ops;
    return EE_OK;
}
