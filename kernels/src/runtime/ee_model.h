/* ee_model.h: the inside of a model, shared by the files of src/runtime.
 *
 * A graph is the encoder in one arithmetic: ee_graph_f32.c, ee_graph_qs8.c. Models, sessions and the
 * memory plan are the same for all and reach the arithmetic through the table of its functions. */
#ifndef EE_MODEL_H
#define EE_MODEL_H

#include "ee.h"

typedef struct {
    const float *weight, *bias;
} ee_affine_f32;

typedef struct {
    const int8_t *weight;
    const float *scale, *bias;
} ee_affine_qs8;

typedef struct {
    const ee_ops_f32 *ops;
    const float *positions;
    ee_affine_f32 conv1, conv2;
    const ee_affine_f32 *heads;             /* one an exit */
    const ee_conformer_weights_f32 *layers; /* those of exit 1, then those of exit 2, ... */
} ee_weights_f32;

typedef struct {
    const ee_ops_qs8 *ops;
    const int8_t *positions;
    const float *positions_scale;
    ee_affine_qs8 conv1, conv2;
    const ee_affine_qs8 *heads;
    const ee_conformer_weights_qs8 *layers;
} ee_weights_qs8;

/* Reads tensors in order; the first thing wrong stays in `status`. */
typedef struct {
    const ee_tensor *next;
    ee_status status;
} ee_tensor_reader;

typedef struct {
    /* Sizes of the tables behind a model's struct, and how many tensors it is opened from. */
    size_t layer_bytes, head_bytes;
    size_t stem_tensors, layer_tensors, head_tensors;

    /* EE_OK, or EE_ERR_DTYPE when `ops` lacks the arithmetic. */
    ee_status (*open)(ee_model *model, const ee_ops *ops, void *tables, ee_tensor_reader *reader);

    /* Bytes that a session needs besides x (rows, dim); the log-probabilities begin there. */
    size_t (*scratch)(const ee_config *config, size_t frames, size_t rows, const ee_team *team);

    /* features (frames, mels) -> x (rows, dim), positions added */
    void (*stem)(const ee_model *model, float *x, const float *features, size_t frames, size_t rows,
                 void *scratch, const ee_team *team);
    /* x -> x; layers are counted from 0 over all exits */
    void (*layer)(const ee_model *model, float *x, size_t layer, size_t rows, void *scratch,
                  const ee_team *team);
    /* x -> log-probabilities (rows, vocab) at the start of scratch */
    void (*head)(const ee_model *model, const float *x, uint32_t exit, size_t rows, void *scratch,
                 const ee_team *team);
} ee_graph;

struct ee_model {
    ee_config config;
    const ee_graph *graph;
    union {
        ee_weights_f32 f32;
        ee_weights_qs8 qs8;
    } weights;
};

extern const ee_graph ee_graph_f32, ee_graph_qs8;

/* EE_OK, EE_ERR_ARGUMENT for NULL, EE_ERR_CONFIG, or EE_ERR_DTYPE. */
ee_status ee_config_check(const ee_config *config);

/* The graph of a configuration that was checked. */
const ee_graph *ee_graph_for(const ee_config *config);

/* The data of the next tensor: `rows` rows of row_bytes, a multiple of 16. */
const void *ee_take_tensor(ee_tensor_reader *reader, size_t rows, size_t row_bytes);

/* Float32, (rows, columns); a vector has one row. */
const float *ee_take_floats(ee_tensor_reader *reader, size_t rows, size_t columns);

static inline int ee_is_aligned(const void *pointer, size_t alignment)
{
    return (uintptr_t)pointer % alignment == 0;
}

#endif
