/* The early-exit Conformer with an attention decoder at every exit: to the runtime a Conformer, with
 * the tensors of decoders behind those of its stem and heads. src/decode/ee_decoder.c runs them. */
#include "../common/ee_size.h"
#include "ee_aed.h"

static const ee_tensor_row STEM[] = {
    EE_CONFORMER_STEM_ROWS,
    {"decoder.positions", 'U', 'D', EE_ROW_TABLE},
    {"decoder.embedding", 'V', 'D', EE_ROW_TABLE},
    {"decoder.norm.weight", '1', 'D', EE_ROW_FLOATS},
    {"decoder.norm.bias", '1', 'D', EE_ROW_FLOATS},
};

static const ee_tensor_row LAYER[] = {
    {"self.norm.weight", '1', 'D', EE_ROW_FLOATS}, {"self.norm.bias", '1', 'D', EE_ROW_FLOATS},
    {"self.in.weight", '3', 'D', EE_ROW_MATRIX}, {"self.in.bias", '1', '3', EE_ROW_FLOATS},
    {"self.out.weight", 'D', 'D', EE_ROW_MATRIX}, {"self.out.bias", '1', 'D', EE_ROW_FLOATS},
    {"cross.norm.weight", '1', 'D', EE_ROW_FLOATS}, {"cross.norm.bias", '1', 'D', EE_ROW_FLOATS},
    {"cross.in.weight", '3', 'D', EE_ROW_MATRIX}, {"cross.in.bias", '1', '3', EE_ROW_FLOATS},
    {"cross.out.weight", 'D', 'D', EE_ROW_MATRIX}, {"cross.out.bias", '1', 'D', EE_ROW_FLOATS},
    {"ff.norm.weight", '1', 'D', EE_ROW_FLOATS}, {"ff.norm.bias", '1', 'D', EE_ROW_FLOATS},
    {"ff.up.weight", 'F', 'D', EE_ROW_MATRIX}, {"ff.up.bias", '1', 'F', EE_ROW_FLOATS},
    {"ff.down.weight", 'D', 'F', EE_ROW_MATRIX}, {"ff.down.bias", '1', 'D', EE_ROW_FLOATS},
};

static const ee_tensor_table STEM_TABLE = {STEM, sizeof(STEM) / sizeof(STEM[0])};
static const ee_tensor_table LAYER_TABLE = {LAYER, sizeof(LAYER) / sizeof(LAYER[0])};

/* ---- Tensors, taken in the order of their tables ---- */

static const void *next(const void *const **tensors)
{
    return *(*tensors)++;
}

static const float *next_scale(const ee_model *model, const void *const **tensors)
{
    return model->config.dtype == EE_DTYPE_QS8 ? next(tensors) : NULL;
}

static ee_affine next_affine(const ee_model *model, const void *const **tensors)
{
    ee_affine found;

    found.weight = next(tensors);
    found.scale = next_scale(model, tensors);
    found.bias = next(tensors);
    return found;
}

static ee_aed_module next_module(const ee_model *model, const void *const **tensors)
{
    ee_aed_module found;

    found.norm.weight = next(tensors);
    found.norm.bias = next(tensors);
    found.in = next_affine(model, tensors);
    found.out = next_affine(model, tensors);
    return found;
}

ee_aed_shared ee_aed_shared_of(const ee_model *model)
{
    const void *const *tensors = ee_tensors_of(model, 0, 0);
    ee_aed_shared found;

    tensors -= model->config.dtype == EE_DTYPE_QS8 ? 6 : 4;
    found.positions = next(&tensors);
    found.positions_scale = next_scale(model, &tensors);
    found.embedding = next(&tensors);
    found.embedding_scale = next_scale(model, &tensors);
    found.norm_weight = next(&tensors);
    found.norm_bias = next(&tensors);
    return found;
}

ee_aed_layer ee_aed_layer_of(const ee_model *model, uint32_t exit, uint32_t layer)
{
    const uint32_t before = model->config.layers_per_exit[exit] + 1;
    const void *const *tensors = ee_tensors_of(model, exit, before + layer);
    ee_aed_layer found;

    found.own = next_module(model, &tensors);
    found.cross = next_module(model, &tensors);
    found.ff = next_module(model, &tensors);
    return found;
}

ee_affine ee_aed_head_of(const ee_model *model, uint32_t exit)
{
    const ee_config *const c = &model->config;
    const void *const *tensors =
        ee_tensors_of(model, exit, c->layers_per_exit[exit] + 1 + c->decoder_layers);

    return next_affine(model, &tensors);
}

/* ---- The graph ---- */

static ee_status check(const ee_config *config)
{
    const uint32_t tokens[] = {config->start_token, config->end_token, config->pad_token};

    for (size_t i = 0; i < 3; i++) {
        if (tokens[i] >= config->vocab || tokens[i] == tokens[(i + 1) % 3]) {
            return EE_ERR_CONFIG;
        }
    }
    if (config->decoder_layers < 1 || config->decoder_layers > EE_MAX_LAYERS_PER_EXIT
        || config->max_tokens < 1 || config->max_tokens > EE_MAX_SIZE) {
        return EE_ERR_CONFIG;
    }
    return ee_conformer_check(config);
}

static size_t size(const ee_config *config, uint8_t letter, uint32_t exit)
{
    return letter == 'U' ? config->max_tokens : ee_conformer_size(config, letter, exit);
}

const ee_graph ee_graph_aed = {
    .architecture = EE_ARCH_AED,
    .stem_tensors = &STEM_TABLE,
    .layer_tensors = &ee_conformer_layer_table,
    .head_tensors = &ee_conformer_head_table,
    .decoder_tensors = &LAYER_TABLE,
    .own_offset = offsetof(ee_config, decoder_layers),
    .own_bytes = offsetof(ee_config, pad_token) + sizeof(uint32_t)
                 - offsetof(ee_config, decoder_layers),
    .check = check,
    .size = size,
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
