/* ee.h: runs a model exit by exit.
 *
 *   ee_model_size -> ee_model_open             once: tensors are checked, then used in place
 *   ee_arena_size -> ee_session_open           once an utterance, or a stream
 *   ee_session_feed                            features, all at once or as they come
 *   ee_session_step -> ee_session_output       once an exit; not calling again stops the work
 *
 * The caller owns all memory: the tensors (flash or a mapped file, only read), the memory of the
 * model (a table of pointers), one arena for each live session, and the features. Nothing here
 * allocates, keeps state of its own or prints. A model may serve several sessions at once, in
 * several threads; a session belongs to one thread at a time. There is nothing to close.
 */
#ifndef EE_H
#define EE_H

#include <stddef.h>
#include <stdint.h>

#include "ee_kernels.h"
#include "ee_kernels_qs8.h"

#ifdef __cplusplus
extern "C" {
#endif

/* cdef:begin */
enum {
    EE_ABI_VERSION = 7,       /* of all headers here: goes up when one breaks code compiled against
                                 the one before, as a changed declaration does, an added one not */
    EE_MEMORY_ALIGNMENT = 64, /* of the memory of models and sessions, in bytes */
    EE_TENSOR_ALIGNMENT = 16, /* of the data of every tensor, in bytes */
    EE_MAX_EXITS = 64,
    EE_MAX_LAYERS_PER_EXIT = 64,
    EE_MAX_LSTM_LAYERS = 8,
    EE_MAX_CONVS = 16,        /* of the feature encoder of a model that takes samples */
    EE_MAX_SIZE = 65536 /* of every dimension in ee_config */
};

/* Results of the functions that check: errors are negative. */
typedef enum {
    EE_OK = 0,
    EE_DONE = 1,                /* there is no next one: no further exit, no further tensor */
    EE_MORE = 2,                /* ee_session_step: nothing is ready before more is fed */
    EE_ERR_ARGUMENT = -1,       /* a required pointer is NULL */
    EE_ERR_CONFIG = -2,         /* a field of ee_config is out of its range */
    EE_ERR_TENSOR_COUNT = -3,   /* not the number of tensors that the configuration asks for */
    EE_ERR_TENSOR_SIZE = -4,    /* a tensor without data, or not of the size it should have */
    EE_ERR_ALIGNMENT = -5,      /* memory, arena, tensor or features not aligned */
    EE_ERR_MODEL_TOO_SMALL = -6, /* model memory smaller than ee_model_size */
    EE_ERR_ARENA_TOO_SMALL = -7, /* arena smaller than ee_arena_size */
    EE_ERR_TOO_MANY_FRAMES = -8, /* more frames than a session's capacity, or than max_frames */
    EE_ERR_TOO_LARGE = -9,      /* the plan does not fit the address space */
    EE_ERR_NOT_FINITE = -10,    /* NaN or infinity among samples, features or log-probabilities */
    EE_ERR_BUFFER_TOO_SMALL = -11, /* a result does not fit the buffer given for it */
    EE_ERR_IMAGE_MAGIC = -12,   /* not a flash image, or one of another byte order */
    EE_ERR_IMAGE_ABI = -13,     /* a flash image of another ABI version */
    EE_ERR_IMAGE_TRUNCATED = -14, /* a flash image that ends early, or not at the end of an exit */
    EE_ERR_IMAGE_CHECKSUM = -15, /* a flash image whose checksum does not fit its bytes */
    EE_ERR_IMAGE_EXITS = -16,   /* more exits asked for than the flash image holds */
    EE_ERR_IMAGE_LAYOUT = -17,  /* sizes or offsets of a flash image that contradict each other */
    EE_ERR_DTYPE = -18,         /* the library or the ops given lack the arithmetic of the model */
    EE_ERR_THREADS = -19,       /* the system has no threads, or gives no more */
    EE_ERR_ENDED = -20,         /* fed after the end */
    EE_ERR_RANGE = -21          /* a number among the arguments is out of its range */
} ee_status;

/* The arithmetic of a model, and how its weights are stored (docs/numerics.md). */
enum {
    EE_DTYPE_F32 = 0, /* float32; not in a library compiled with EE_NO_F32 */
    EE_DTYPE_QS8 = 1  /* int8 mode: the same bytes on every target */
};

/* What is computed: how layers are made, in which order tensors lie. */
enum {
    EE_ARCH_CONFORMER = 1,
    EE_ARCH_SPLITFORMER = 2,    /* without chunks */
    EE_ARCH_WAV2VEC2 = 3,       /* takes samples: mels 1; without chunks and positions */
    EE_ARCH_WAVLM = 4,          /* likewise */
    EE_ARCH_ZIPFORMER = 5,      /* at most 19 layers, without chunks; max_frames counts encoder
                                   frames, and the position table has two rows for each */
    EE_ARCH_CONFORMER_LSTM = 6, /* bidirectional LSTMs in each head; without chunks */
    EE_ARCH_AED = 8             /* a Conformer with attention decoders (ee_decoder.h) */
};

/* Padding of the depthwise convolution. */
enum {
    EE_CONV_CENTRED = 0, /* as many frames after as before */
    EE_CONV_CAUSAL = 1,  /* frames before alone */
    EE_CONV_CHUNK = 2    /* centred, none after the end of a frame's chunk */
};

enum {
    EE_POSITIONS_TABLE = 0, /* stem.positions are added to the output of the stem */
    EE_POSITIONS_NONE = 1   /* there is no such tensor, and no limit of length */
};

/* Norms of the feature encoder: one of each channel over the utterance after the first convolution,
 * or one of each frame after each. */
enum {
    EE_CONV_NORM_GROUP = 0,
    EE_CONV_NORM_LAYER = 1
};

/* Norms of a transformer layer: after each sum, or before each module. */
enum {
    EE_NORM_POST = 0,
    EE_NORM_PRE = 1
};

/* The configuration. Every size is in 1..EE_MAX_SIZE unless it says otherwise. */
typedef struct {
    uint32_t architecture;                  /* EE_ARCH_... */
    uint32_t exits;                         /* 1..EE_MAX_EXITS */
    uint32_t layers_per_exit[EE_MAX_EXITS]; /* 1..EE_MAX_LAYERS_PER_EXIT each; `exits` are read */
    uint32_t dim, heads, ff, kernel, vocab, mels; /* dim a multiple of heads; kernel odd, but that
                                                     of a positional convolution any */
    uint32_t stem_kernel, stem_stride; /* of both stem convolutions; stride <= kernel */
    uint32_t max_frames;               /* rows of the position table; 0 without one */
    uint32_t chunk;                    /* encoder frames of a chunk; 0: every frame sees all */
    uint32_t left;                     /* frames before its chunk that a frame sees, from 0 on */
    uint32_t conv;                     /* EE_CONV_...; with a chunk not CENTRED, else not CHUNK */
    uint32_t positions;                /* EE_POSITIONS_... */
    float norm_eps;                    /* 2^-40..1 */
    uint32_t dtype;                    /* EE_DTYPE_F32 or EE_DTYPE_QS8 */
    uint8_t parallel[EE_MAX_EXITS];    /* of a Splitformer: layers at half rate beside a group,
                                          0 or 1; others do not read it */
    uint32_t lstm_layers;              /* of a Conformer with LSTMs, as is lstm_width: LSTMs of a
                                          head, 1..EE_MAX_LSTM_LAYERS; others read neither */
    uint32_t lstm_width;               /* values of an LSTM in a direction, 1..EE_MAX_SIZE / 8 */
    /* What only wav2vec 2.0 and WavLM read, which do not read the fields of the stem: */
    uint32_t channels;                   /* of the feature encoder */
    uint32_t groups;                     /* of the positional convolution; a divisor of dim */
    uint32_t conv_bias;                  /* 1 where the convolutions have a bias, else 0 */
    uint32_t conv_norm;                  /* EE_CONV_NORM_... */
    uint32_t norm;                       /* EE_NORM_... */
    uint32_t buckets, max_distance;      /* of WavLM alone: rows of the table of distances, a
                                            multiple of 4, and frames, more than a quarter of them,
                                            from which on distances share a row */
    uint16_t conv_kernel[EE_MAX_CONVS];  /* of each convolution, 0 after the last; a row takes at
                                            most EE_MAX_SIZE samples */
    uint16_t conv_stride[EE_MAX_CONVS];
    uint8_t head_norm[EE_MAX_EXITS];     /* 1 where a head begins with a norm, else 0 */
    /* Of attention decoders; others do not read them. */
    uint32_t decoder_layers;           /* of each exit's, 1..EE_MAX_LAYERS_PER_EXIT */
    uint32_t max_tokens;               /* rows of their position table */
    uint32_t start_token, end_token;   /* labels that begin and end a sentence */
    uint32_t pad_token;                /* one that follows the end; no two of the three are equal */
} ee_config;

/* One tensor. Matrices of float32 have rows of ee_row_stride(n) floats, those of int8 rows of
 * ee_row_stride_qs8(n) bytes, vectors ee_row_stride(n) floats in all; bytes counts the padding. */
typedef struct {
    const void *data;
    size_t bytes;
} ee_tensor;

/* ---- Primitives of both modes, with the same bytes on every target -------------------------- */

/* *sum = SUM over v of exp(row[v]) row[v] where row[v] > -87; returns the lowest label of the
 * largest row[v]. row (vocab), no NaN, vocab at least 1. */
typedef uint32_t ee_exit_row(float *sum, const float *row, size_t vocab);
ee_exit_row ee_exit_row_c;

/* CRC-32 of zlib and PNG (polynomial 0xEDB88320 reflected) of what has the checksum crc, 0 for
 * nothing, and of `bytes` more. data may be NULL when bytes is 0. */
typedef uint32_t ee_crc32(uint32_t crc, const void *data, size_t bytes);
ee_crc32 ee_crc32_c;

typedef struct ee_frontend ee_frontend; /* ee_frontend.h */

/* Features (frames, mels) of `frames` frames, at least 1 and at most the number in the table:
 * frame t has the win_length samples at rows + t * stride, all finite. Returns 0 when an energy
 * overflows, with `out` written in part or not at all. scratch: 2 n_fft floats for each frame of
 * that number, at a multiple of 64 bytes; the rows may lie in its second half. */
typedef int ee_mel_block(float *out, const ee_frontend *frontend, const float *rows, size_t stride,
                         size_t frames, float *scratch);

/* The primitives of one instruction set; f32 is NULL in a library compiled with EE_NO_F32. */
typedef struct {
    const ee_ops_f32 *f32;
    const ee_ops_qs8 *qs8;
    ee_exit_row *exit_row;
    ee_crc32 *crc32;
    ee_mel_block *mel_block; /* NULL: ee_frontend.c does one frame after another */
    size_t mel_frames;       /* most frames of a block */
} ee_ops;

typedef struct ee_model ee_model;
typedef struct ee_session ee_session;

uint32_t ee_abi_version(void);

/* One line of English, never NULL. */
const char *ee_strerror(ee_status status);
/* "EE_ERR_CONFIG" and so on, or "EE_ERR_UNKNOWN". */
const char *ee_status_name(ee_status status);

/* The primitives of an instruction set, or NULL when the library was built without it. Calling
 * them on a CPU that lacks the set is an illegal instruction: every set up to ee_isa_best that is
 * not NULL can be used. */
const ee_ops *ee_ops_for(ee_isa isa);

/* Bytes of memory that ee_model_open needs (it depends on the size of a pointer). */
ee_status ee_model_size(const ee_config *config, size_t *bytes);

/* What a tensor of a model has to be. */
enum {
    EE_TENSOR_FLOATS = 0,
    EE_TENSOR_INT8 = 1,
    EE_TENSOR_SCALES = 2 /* float32: of the rows of the int8 tensor before it */
};

typedef struct {
    const char *name; /* within the stem, its layer or its head; of scales that of their matrix */
    uint32_t exit;    /* from 1; 0 for the stem */
    uint32_t layer;   /* from 1; 0 for the stem and for heads; those of a decoder are counted on */
    uint32_t kind;    /* EE_TENSOR_... */
    size_t rows, columns, bytes; /* a vector has one row; bytes with the padding of rows */
} ee_tensor_info;

/* The tensor `number`, from 0, of those that ee_model_open takes: first those of the stem, then for
 * every exit those of its layers and of its head, in the order of weights_io/FORMAT.md. EE_DONE
 * after the last one. */
ee_status ee_tensor_at(const ee_config *config, size_t number, ee_tensor_info *info);

/* Checks a model and makes it ready. tensors: `count` of them, as ee_tensor_at says. Every size and
 * alignment is checked before a model is given. The data stays the caller's and is used in place:
 * it outlives the model; tensors[] and config may go. memory: `size` bytes. ops: a table that this
 * CPU can run. On an error *model is NULL. */
ee_status ee_model_open(void *memory, size_t size, const ee_config *config,
                        const ee_tensor *tensors, size_t count, const ee_ops *ops,
                        ee_model **model);

/* Bytes of memory that ee_model_pack needs: about those of the matrices, or 0 where it would gain
 * nothing (a set whose table for the model's mode has no `pack`, a dim that is no multiple of 16). */
ee_status ee_model_packed_size(const ee_model *model, size_t *bytes);

/* Copies the matrices of a model into `memory`, 64-byte aligned, in the order in which the kernels
 * take them: what they otherwise do in every call. The matrices among tensors[] are not read again,
 * but for the table of positions; memory outlives the model. Once, before sessions are opened;
 * results are the same bytes. With 0 bytes needed, nothing is done. */
ee_status ee_model_pack(ee_model *model, void *memory, size_t bytes);

/* Encoder frames, rows of an output, of `frames` frames of features: 0 when there are too few. */
size_t ee_encoder_frames(const ee_config *config, size_t frames);

/* Bytes of arena that a session of this capacity uses on this team (NULL: the calling thread), to
 * the byte: the same for every exit and on every target, so that a PC can plan for a
 * microcontroller.
 *
 * capacity, in mel frames: that of the longest utterance; with a limited view (chunk > 0), what is
 * fed at once plus what was fed before and not stepped. When every block is stepped, the latter is
 * at most the frames of chunk - 1 rows and of an incomplete one. The arena of a limited view does
 * not grow with the length of the stream. EE_ERR_TOO_MANY_FRAMES when there are fewer positions. */
ee_status ee_arena_size(const ee_config *config, size_t capacity, const ee_team *team,
                        size_t *bytes);

/* Begins an utterance. team: what does the work, or NULL for the calling thread; it outlives the
 * session. Everything is checked before the arena is written. On an error *session is NULL. */
ee_status ee_session_open(ee_session **session, const ee_model *model, const ee_team *team,
                          void *arena, size_t bytes, size_t capacity);

/* Brings features (frames, mels), finite; last: no more will come. The array is not needed after
 * this returns. Rows become ready by whole chunks, and all that are left with the last feed; with a
 * full view, none before it. The rows that are ready and not stepped yet are the block for the next
 * steps. A feed replaces a block that was stepped to any exit, and extends one that was not stepped
 * at all.
 *
 * EE_ERR_ENDED after the last feed, EE_ERR_TOO_MANY_FRAMES, EE_ERR_ARGUMENT, EE_ERR_ALIGNMENT and
 * EE_ERR_NOT_FINITE leave the session as it was. */
ee_status ee_session_feed(ee_session *session, const float *features, size_t frames, int last);

/* Computes the block up to the next exit: EE_OK. EE_DONE when its last exit was reached before,
 * EE_MORE when there is no block yet. An utterance that is over has a block, if only of no rows.
 *
 * Whatever the slices and the exits stepped to, each exit gives the rows that one feed of
 * everything gives: in int8 mode the same bytes. A group that earlier blocks did not reach first
 * computes the earlier rows that the block depends on. */
ee_status ee_session_step(ee_session *session);

enum {
    EE_OUTPUT_LOG_PROBS = 1 /* natural logarithm of the probabilities of labels: a CTC head */
};

/* The output of an exit for a block. The arrays lie in the arena and are valid until the next step
 * or feed. */
typedef struct {
    uint32_t exit;       /* from 1 */
    uint32_t kind;       /* EE_OUTPUT_... */
    size_t first;        /* row of the utterance at which the block begins */
    size_t rows, columns;
    const float *data;   /* (rows, columns) */
    const float *hidden; /* (rows, dim): what the head was given */
} ee_output;

/* The exit reached; EE_MORE, and *output all zeros, when no exit of the block was. */
ee_status ee_session_output(const ee_session *session, ee_output *output);
/* cdef:end */

/* ---- Variants of the primitives: as in ee_kernels.h, with the same bytes -------------------- */
ee_exit_row ee_exit_row_avx2, ee_exit_row_avx512;
ee_crc32 ee_crc32_avx2, ee_crc32_dot, ee_crc32_dsp;
ee_mel_block ee_mel_block_avx2, ee_mel_block_avx512, ee_mel_block_neon,
    ee_mel_block_mve, ee_mel_block_simd128;

#ifdef __cplusplus
}
#endif

#endif
