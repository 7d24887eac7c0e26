/* ee_graph.h: what an architecture is to the runtime.
 *
 * A model is a stem, then groups of layers, each with a head at its exit. Which tensors these have
 * and what is computed with them is written in one file of src/graphs; models, sessions, images and
 * memory plans are the same for all and ask the graph. */
#ifndef EE_GRAPH_H
#define EE_GRAPH_H

#include "ee.h"

/* Kinds of rows: matrices and tables of an int8 model are int8, and the scales of their rows follow
 * them. A table is none that products take as it is: it is never packed. */
enum { EE_ROW_FLOATS, EE_ROW_MATRIX, EE_ROW_TABLE };

/* A tensor: its name within the stem, a layer or a head, sizes by their letters, and its kind. One
 * of no rows is left out. A vector has '1' row. */
typedef struct {
    const char *name;
    uint8_t rows, columns;
    uint8_t kind;
} ee_tensor_row;

typedef struct {
    const ee_tensor_row *rows;
    size_t count;
} ee_tensor_table;

/* Row r of the stem is made of the inputs r * hop .. r * hop + span - 1. */
typedef struct {
    size_t span, hop;
} ee_window;

/* The caches of a group in a limited view; `held`: rows that it has run since they were empty. */
typedef struct {
    void *data;
    size_t held;
} ee_cache;

typedef struct {
    uint32_t architecture;
    const ee_tensor_table *stem_tensors, *layer_tensors, *head_tensors;
    /* Of a layer of the attention decoder behind each head, or NULL. There are decoder_layers, and
     * then another head. */
    const ee_tensor_table *decoder_tensors;
    /* The bytes of ee_config that only this architecture reads; a flash image stores them in a
     * section of their own. */
    size_t own_offset, own_bytes;
    /* Whether a row depends on all inputs: the stem runs at the last feed, once. */
    int is_whole;

    /* EE_OK or EE_ERR_CONFIG: the fields that are this architecture's own. Below, configurations
     * are checked, and exits are counted from 0. */
    ee_status (*check)(const ee_config *config);
    /* What a letter stands for, in the tables of an exit (of the stem 0). */
    size_t (*size)(const ee_config *config, uint8_t letter, uint32_t exit);
    ee_window (*window)(const ee_config *config);
    /* Encoder frames, which are the rows of an output, of so many rows of the stem; others than
     * these only in a full view. */
    size_t (*frames)(const ee_config *config, size_t rows);
    /* Rows of x of so many of the stem: in a full view a group may leave more to the next one,
     * behind them. */
    size_t (*x_rows)(const ee_config *config, size_t rows);
    /* How many layers the group of an exit has, each with the tensors of layer_tensors. */
    uint32_t (*layers)(const ee_config *config, uint32_t exit);
    /* How far back, in rows, the output of a group for a chunk depends on its input, in a limited
     * view: a multiple of the chunk. */
    size_t (*reach)(const ee_config *config, uint32_t exit);
    /* Bytes of the caches of a group, a multiple of EE_MEMORY_ALIGNMENT. */
    size_t (*cache_bytes)(const ee_config *config, uint32_t exit);
    /* Bytes of scratch of each of the functions below, for 1 row or more. */
    size_t (*scratch)(const ee_config *config, size_t rows, const ee_team *team);

    /* inputs -> x (rows, dim), the same wherever in an utterance the rows are; frames: how many
     * inputs there are, those of the rows or, of a whole utterance, a few more */
    void (*stem)(const ee_model *model, float *x, const float *inputs, size_t frames, size_t rows,
                 void *scratch, const ee_team *team);
    /* Adds to rows of the stem that they are the rows `first`, first + 1, ... of the utterance. */
    void (*place)(const ee_model *model, float *x, size_t first, size_t rows);
    /* x (rows, dim) -> x through the layers of a group. In a limited view x begins with a chunk,
     * and the cache then has what the rows to come need. */
    void (*group)(const ee_model *model, uint32_t exit, float *x, size_t rows,
                  const ee_cache *cache, void *scratch, const ee_team *team);
    /* x (rows, dim) -> out->data and out->columns; the data lies in the scratch. So does
     * out->hidden where the frames are others than these rows; else it stays what it is. */
    void (*head)(const ee_model *model, uint32_t exit, ee_output *out, const float *x, size_t rows,
                 void *scratch, const ee_team *team);
} ee_graph;

extern const ee_graph ee_graph_conformer, ee_graph_splitformer, ee_graph_wav2vec2, ee_graph_wavlm,
    ee_graph_zipformer, ee_graph_conformer_lstm, ee_graph_aed;

/* As many: `frames` and `x_rows` of most graphs. */
size_t ee_as_many_rows(const ee_config *config, size_t rows);

/* The graph of an architecture, or NULL. */
const ee_graph *ee_graph_for(uint32_t architecture);

struct ee_model {
    ee_config config;
    const ee_graph *graph;
    const ee_ops *ops;
    const void **tensors; /* in the order of ee_tensor_at; behind this struct */
};

/* EE_OK, EE_ERR_ARGUMENT for NULL, EE_ERR_CONFIG, or EE_ERR_DTYPE. */
ee_status ee_config_check(const ee_config *config);

/* How many tensors a model has that was checked. */
size_t ee_tensor_count(const ee_config *config);

/* The tensors of a layer (from 0) or, after the last of the graph's `layers`, of the head of an
 * exit, and then of the layers of its decoder and of the decoder's head. */
const void *const *ee_tensors_of(const ee_model *model, uint32_t exit, uint32_t part);

/* A model without its tensors, which are to be put in model->tensors. Errors are those of
 * ee_model_open. */
ee_status ee_model_begin(void *memory, size_t size, const ee_config *config, const ee_ops *ops,
                         ee_model **model);

#endif
