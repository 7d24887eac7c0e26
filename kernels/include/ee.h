/* ee.h: runs a model exit by exit.
 *
 *   ee_model_size -> ee_model_open            once: tensors are checked, then used in place
 *   ee_arena_size -> ee_session_open          once an utterance
 *   ee_session_step -> ee_session_log_probs   once an exit; not calling again stops the work
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
    EE_ABI_VERSION = 3,       /* of all headers here: goes up when one breaks code compiled against
                                 the one before, as a changed declaration does, an added one not */
    EE_MEMORY_ALIGNMENT = 64, /* of the memory of models and sessions, in bytes */
    EE_TENSOR_ALIGNMENT = 16, /* of the data of every tensor, in bytes */
    EE_MAX_EXITS = 64,
    EE_MAX_LAYERS_PER_EXIT = 64,
    EE_MAX_SIZE = 65536 /* of every dimension in ee_config */
};

/* Results of the functions that check: errors are negative. */
typedef enum {
    EE_OK = 0,
    EE_DONE = 1,                /* ee_session_step: the last exit was already reached */
    EE_ERR_ARGUMENT = -1,       /* a required pointer is NULL */
    EE_ERR_CONFIG = -2,         /* a field of ee_config is out of its range */
    EE_ERR_TENSOR_COUNT = -3,   /* not the number of tensors that the configuration asks for */
    EE_ERR_TENSOR_SIZE = -4,    /* a tensor without data, or not of the size it should have */
    EE_ERR_ALIGNMENT = -5,      /* memory, arena, tensor or features not aligned */
    EE_ERR_MODEL_TOO_SMALL = -6, /* model memory smaller than ee_model_size */
    EE_ERR_ARENA_TOO_SMALL = -7, /* arena smaller than ee_arena_size */
    EE_ERR_TOO_MANY_FRAMES = -8, /* more encoder frames than max_frames */
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
    EE_ERR_THREADS = -19        /* the system has no threads, or no more */
} ee_status;

/* The arithmetic of a model, and how its weights are stored (docs/numerics.md). */
enum {
    EE_DTYPE_F32 = 0, /* float32; not in a library compiled with EE_NO_F32 */
    EE_DTYPE_QS8 = 1  /* int8 mode: the same bytes on every target */
};

/* The architecture. Every size is in 1..EE_MAX_SIZE; dim is a multiple of heads; kernel is odd. */
typedef struct {
    uint32_t exits;                         /* 1..EE_MAX_EXITS */
    uint32_t layers_per_exit[EE_MAX_EXITS]; /* 1..EE_MAX_LAYERS_PER_EXIT each; `exits` are read */
    uint32_t dim, heads, ff, kernel, vocab, mels;
    uint32_t stem_kernel, stem_stride; /* of both stem convolutions; stride <= kernel */
    uint32_t max_frames;               /* rows of the position table, in encoder frames */
    float norm_eps;                    /* > 0 */
    uint32_t dtype;                    /* EE_DTYPE_F32 or EE_DTYPE_QS8 */
} ee_config;

/* One tensor. Matrices of float32 have rows of ee_row_stride(n) floats, those of int8 rows of
 * ee_row_stride_qs8(n) bytes, vectors ee_row_stride(n) floats in all; bytes counts the padding. */
typedef struct {
    const void *data;
    size_t bytes;
} ee_tensor;

/* The primitives of one instruction set; f32 is NULL in a library compiled with EE_NO_F32. */
typedef struct {
    const ee_ops_f32 *f32;
    const ee_ops_qs8 *qs8;
} ee_ops;

typedef struct ee_model ee_model;
typedef struct ee_session ee_session;

uint32_t ee_abi_version(void);

/* One line of English, never NULL. */
const char *ee_strerror(ee_status status);
/* "EE_ERR_CONFIG" and so on, or "EE_ERR_UNKNOWN". */
const char *ee_status_name(ee_status status);

/* NULL when the library was built without the instruction set; see ee_isa_best. */
const ee_ops *ee_ops_for(ee_isa isa);

/* Bytes of memory that ee_model_open needs (it depends on the size of a pointer). */
ee_status ee_model_size(const ee_config *config, size_t *bytes);

/* Checks a model and makes it ready. `tensors` are, in order:
 *   stem.positions (max_frames, dim), stem.conv1.weight (dim, stem_kernel*mels), stem.conv1.bias,
 *   stem.conv2.weight (dim, stem_kernel*dim), stem.conv2.bias;
 *   for every exit: for every layer the members of ee_conformer_weights_f32; head weight, bias.
 * With EE_DTYPE_QS8 every matrix but conv.depthwise.weight is int8 and followed by the scales of
 * its rows, as in ee_conformer_weights_qs8.
 * Every size and alignment is checked before a model is given. The data stays the caller's and is
 * used in place: it outlives the model; tensors[] and config may go. memory: `size` bytes. ops: a
 * table that this CPU can run. On an error *model is NULL. */
ee_status ee_model_open(void *memory, size_t size, const ee_config *config,
                        const ee_tensor *tensors, size_t count, const ee_ops *ops,
                        ee_model **model);

/* Encoder frames of `frames` mel frames: two stem convolutions, 0 when there are too few. */
size_t ee_encoder_frames(const ee_config *config, size_t frames);

/* Bytes of arena that a session over `frames` mel frames uses on this team (NULL: the calling
 * thread), to the byte: the same for every exit and on every target, so that a PC can plan for a
 * microcontroller. */
ee_status ee_arena_size(const ee_config *config, size_t frames, const ee_team *team,
                        size_t *bytes);

/* Begins an utterance. team: what does the work of its steps, or NULL for the calling thread; it
 * outlives the session. features (frames, mels), finite, unchanged until the first step is over.
 * Everything is checked before the arena is written. On an error *session is NULL. */
ee_status ee_session_open(ee_session **session, const ee_model *model, const ee_team *team,
                          void *arena, size_t bytes, const float *features, size_t frames);

/* Computes up to the next exit: EE_OK, or EE_DONE when the last exit was reached before. */
ee_status ee_session_step(ee_session *session);

/* Log-probabilities (rows, vocab) of the exit reached, natural logarithm. They lie in the arena and
 * are valid until the next step. NULL and 0 rows before the first step; rows may be NULL. */
const float *ee_session_log_probs(const ee_session *session, size_t *rows);

/* The exit reached: 1..exits, or 0 before the first step. */
uint32_t ee_session_exit(const ee_session *session);

/* CRC-32 of zlib and PNG (polynomial 0xEDB88320 reflected), carry-less multiplication where the
 * CPU has it; _c is portable. data may be NULL when bytes is 0. */
uint32_t ee_crc32(const void *data, size_t bytes);
uint32_t ee_crc32_c(const void *data, size_t bytes);
/* cdef:end */

#ifdef __cplusplus
}
#endif

#endif
