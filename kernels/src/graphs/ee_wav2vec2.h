/* ee_wav2vec2.h: the pieces of wav2vec 2.0 that WavLM shares, whose tensors and modules are there
 * where the configuration has buckets. See ee_graph.h for what each does. */
#ifndef EE_WAV2VEC2_H
#define EE_WAV2VEC2_H

#include "../runtime/ee_graph.h"

extern const ee_tensor_table ee_wav2vec2_stem_table, ee_wav2vec2_layer_table,
    ee_wav2vec2_head_table;

/* Where the fields of ee_config lie that both read and no other does. */
enum {
    EE_WAV2VEC2_OFFSET = offsetof(ee_config, channels),
    EE_WAV2VEC2_BYTES = offsetof(ee_config, head_norm) + EE_MAX_EXITS - EE_WAV2VEC2_OFFSET
};

ee_status ee_wav2vec2_check(const ee_config *config);
size_t ee_wav2vec2_size(const ee_config *config, uint8_t letter, uint32_t exit);
ee_window ee_wav2vec2_window(const ee_config *config);
uint32_t ee_wav2vec2_layers(const ee_config *config, uint32_t exit);
/* Of reach and cache_bytes: in a full view nothing is behind. */
size_t ee_wav2vec2_nothing(const ee_config *config, uint32_t exit);
size_t ee_wav2vec2_scratch(const ee_config *config, size_t rows, const ee_team *team);

void ee_wav2vec2_stem(const ee_model *model, float *x, const float *inputs, size_t frames,
                      size_t rows, void *scratch, const ee_team *team);
void ee_wav2vec2_place(const ee_model *model, float *x, size_t first, size_t rows);
/* distances (heads, 2 rows - 1): those of ee_gated_attention, NULL without gates. */
void ee_wav2vec2_group(const ee_model *model, uint32_t exit, float *x, size_t rows,
                       const float *distances, void *scratch, const ee_team *team);
void ee_wav2vec2_head(const ee_model *model, uint32_t exit, ee_output *out, const float *x,
                      size_t rows, void *scratch, const ee_team *team);

#endif
