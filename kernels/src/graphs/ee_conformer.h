/* ee_conformer.h: the pieces of the Conformer that graphs made of its layers share: stem, layers
 * and head, in both arithmetics. See ee_graph.h for what each does. */
#ifndef EE_CONFORMER_H
#define EE_CONFORMER_H

#include "../runtime/ee_graph.h"

/* Of the stem, positions among them. */
#define EE_CONFORMER_STEM_ROWS                              \
    {"positions", 'T', 'D', EE_ROW_TABLE},                  \
    {"conv1.weight", 'D', 'A', EE_ROW_MATRIX}, {"conv1.bias", '1', 'D', EE_ROW_FLOATS}, \
    {"conv2.weight", 'D', 'B', EE_ROW_MATRIX}, {"conv2.bias", '1', 'D', EE_ROW_FLOATS}

extern const ee_tensor_table ee_conformer_stem_table, ee_conformer_layer_table,
    ee_conformer_head_table;

ee_status ee_conformer_check(const ee_config *config);
size_t ee_conformer_size(const ee_config *config, uint8_t letter, uint32_t exit);
ee_window ee_conformer_window(const ee_config *config);
/* The tensors of the stem behind the positions, if there are any. */
const void *const *ee_conformer_behind_positions(const ee_model *model);

/* Of a group: see layers, reach and cache_bytes of a graph. */
uint32_t ee_conformer_layers(const ee_config *config, uint32_t exit);
size_t ee_conformer_reach(const ee_config *config, uint32_t exit);
size_t ee_conformer_group_cache_bytes(const ee_config *config, uint32_t exit);

/* Of one layer: see reach and cache_bytes of a graph. */
size_t ee_conformer_layer_reach(const ee_config *config);
size_t ee_conformer_cache_bytes(const ee_config *config);

/* Bytes: of a layer; of a head; of stem, layer or head, whichever needs the most. */
size_t ee_conformer_layer_scratch(const ee_config *config, size_t rows, const ee_team *team);
size_t ee_conformer_head_scratch(const ee_config *config, size_t rows, const ee_team *team);
size_t ee_conformer_scratch(const ee_config *config, size_t rows, const ee_team *team);

void ee_conformer_stem(const ee_model *model, float *x, const float *inputs, size_t frames,
                       size_t rows, void *scratch, const ee_team *team);
void ee_conformer_place(const ee_model *model, float *x, size_t first, size_t rows);
/* tensors: those of ee_conformer_layer_table; cache: of this layer alone. */
void ee_conformer_layer(const ee_model *model, const void *const *tensors, float *x, size_t rows,
                        const ee_cache *cache, void *scratch, const ee_team *team);
/* layers_per_exit layers, one after another. */
void ee_conformer_group(const ee_model *model, uint32_t exit, float *x, size_t rows,
                        const ee_cache *cache, void *scratch, const ee_team *team);
void ee_conformer_head(const ee_model *model, uint32_t exit, ee_output *out, const float *x,
                       size_t rows, void *scratch, const ee_team *team);

#endif
