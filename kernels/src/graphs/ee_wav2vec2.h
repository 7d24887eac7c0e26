/* ee_wav2vec2.h: the pieces of wav2vec 2.0 that WavLM shares, whose tensors and modules are there
 * where the configuration has buckets. See ee_graph.h for what each does. */
#ifndef EE_WAV2VEC2_H
#define EE_WAV2VEC2_H

#include "../common/ee_team.h"
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
/* before: bytes that lie before the scratch of layers. */
size_t ee_wav2vec2_scratch(const ee_config *config, size_t rows, size_t before,
                           const ee_team *team);

void ee_wav2vec2_stem(const ee_model *model, float *x, const float *inputs, size_t frames,
                      size_t rows, void *scratch, const ee_team *team);
void ee_wav2vec2_place(const ee_model *model, float *x, size_t first, size_t rows);
/* distances (heads, 2 rows - 1): those of ee_gated_attention, NULL without gates. */
void ee_wav2vec2_group(const ee_model *model, uint32_t exit, float *x, size_t rows,
                       const float *distances, void *scratch, const ee_team *team);
void ee_wav2vec2_head(const ee_model *model, uint32_t exit, ee_output *out, const float *x,
                      size_t rows, void *scratch, const ee_team *team);

/* The parts of the above in int8 mode; scratch in bytes, tensors those of a layer or of a head. */
size_t ee_wav2vec2_qs8_scratch(const ee_config *config, size_t rows, size_t before,
                               const ee_team *team);
void ee_wav2vec2_qs8_stem(const ee_model *model, float *x, const float *inputs, size_t frames,
                          size_t rows, void *scratch, const ee_team *team);
void ee_wav2vec2_qs8_layer(const ee_model *model, const void *const *tensors, float *x, size_t rows,
                           const float *distances, void *scratch, const ee_team *team);
void ee_wav2vec2_qs8_head(const ee_model *model, const void *const *tensors, int has_norm_of_its_own,
                          float *out, const float *x, size_t rows, void *scratch,
                          const ee_team *team);

/* ---- The feature encoder: a block of rows at a time, through all convolutions ----
 *
 * The first one gives 64 rows for each row of the last, and the second 32: what they give for a whole
 * utterance fits no cache. The first is done a piece at a time, just before the second wants it. */

enum { ENCODER_BLOCK = 48, ENCODER_PIECE = 192 };

static inline size_t conv_count(const ee_config *config)
{
    size_t count = 0;

    while (count < EE_MAX_CONVS && config->conv_kernel[count] > 0) {
        count++;
    }
    return count;
}

/* Floats that a row of convolution n is made of. */
static inline size_t conv_window(const ee_config *config, size_t n)
{
    return (size_t)config->conv_kernel[n] * (n > 0 ? config->channels : 1);
}

static inline int has_norm(const ee_config *config, size_t n)
{
    return n == 0 || config->conv_norm == EE_CONV_NORM_LAYER;
}

/* What a frame of the positional convolution sees of its group. */
static inline size_t positional_window(const ee_config *config)
{
    return (size_t)config->kernel * (config->dim / config->groups);
}

/* Rows of convolution n of which the last one makes so many. */
static inline size_t conv_rows(const ee_config *config, size_t n, size_t rows)
{
    for (size_t later = conv_count(config); --later > n;) {
        rows = ee_size_add(ee_size_mul(rows - 1, config->conv_stride[later]),
                           config->conv_kernel[later]);
    }
    return rows;
}

static inline size_t encoder_block(size_t rows, const ee_team *team)
{
    return ee_size_min(ee_block_frames(rows, team), ENCODER_BLOCK);
}

/* Rows of the first convolution that are done at once, when the block has so many of the second. */
static inline size_t piece_rows(const ee_config *config, size_t second)
{
    const size_t piece = ee_size_min(second, ENCODER_PIECE);

    return conv_count(config) < 2
               ? 0
               : (piece - 1) * config->conv_stride[1] + config->conv_kernel[1];
}

/* Floats of a worker: a piece of the first convolution, or all of it when there is no other; the
 * rows of the others in turn in two places, those of the second in the first place. */
typedef struct {
    size_t piece, odd, even;
} encoder_places;

static inline encoder_places encoder_places_of(const ee_config *config, size_t block)
{
    const size_t convs = conv_count(config), channels = config->channels;
    encoder_places places = {0, 0, 0};

    places.piece = ee_size_mul(
        convs > 1 ? piece_rows(config, conv_rows(config, 1, block)) : block, channels);
    if (convs > 1) {
        places.odd = ee_size_mul(conv_rows(config, 1, block), channels);
    }
    if (convs > 2) {
        places.even = ee_size_mul(conv_rows(config, 2, block), channels);
    }
    return places;
}

#endif
