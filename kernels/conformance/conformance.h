/* conformance.h: what the files of this folder share: a question, its arguments, its answer. What
 * the linker sees of it begins with eec_, so that it meets no name of the firmware. */
#ifndef CONFORMANCE_H
#define CONFORMANCE_H

#include <stdint.h>

#include "ee_conformance.h"
#include "ee_image.h"

enum {
    MAX_PARAMETERS = 8,
    MAX_TENSORS = 64,
    MAX_OUTPUTS = 80,
    MAX_GUARDS = 160,
    MAX_AXES = 4,
    NAME_BYTES = 80
};

/* Codes of ERROR (docs/conformance-protocol.md); UNSUPPORTED is an answer of its own. */
enum {
    CODE_NONE = 0,
    CODE_BAD_FRAME = 1,
    CODE_BAD_BODY = 2,
    CODE_ARGUMENT = 3,
    CODE_STATUS = 4,
    CODE_OVERRUN = 5,
    CODE_UNSUPPORTED = 100
};

typedef struct {
    char name[NAME_BYTES];
    char type; /* 'i', 'f' or 's' */
    const unsigned char *value;
} parameter;

typedef struct {
    char name[NAME_BYTES];
    char dtype; /* 'f', 'b', 'h' or 'i' */
    uint32_t axes;
    size_t shape[MAX_AXES];
    void *data; /* aligned to 64 bytes */
} tensor;

/* A question and what becomes of it. Whatever goes wrong is noted once, in code and text, and makes
 * the functions below give NULL or 0 from then on: an op fetches all it needs and asks then. */
typedef struct {
    const ee_conformance *port;
    char name[NAME_BYTES];
    parameter parameters[MAX_PARAMETERS];
    size_t parameter_count;
    tensor inputs[MAX_TENSORS];
    size_t input_count;
    tensor outputs[MAX_OUTPUTS];
    size_t output_count;
    unsigned char *guards[MAX_GUARDS];
    size_t guard_count;
    unsigned char *next, *end; /* free memory */
    int code;
    const char *text; /* why, and of what */
    char about[NAME_BYTES];
    size_t wanted; /* bytes of memory, when they were not there */
    ee_image image;
} question;

/* Notes what went wrong; the first time counts. */
void eec_fail(question *q, int code, const char *text, const char *about);

/* Arguments by name, of the dtype and size wanted; a missing one is an error, or NULL. */
const tensor *eec_argument(question *q, const char *name, char dtype, uint32_t axes);
const tensor *eec_optional(question *q, const char *name, char dtype, uint32_t axes);
int eec_has_parameter(const question *q, const char *name);
int32_t eec_integer(question *q, const char *name);
float eec_number(question *q, const char *name);

/* Bytes of a value of a dtype, 0 for another letter. */
size_t eec_element_bytes(char dtype);

/* a * b, or SIZE_MAX, which is more memory than there is: sizes come from the host. */
size_t eec_product(size_t a, size_t b);

/* The next `bytes` of free memory, rounded up to a multiple of 64, or NULL. */
unsigned char *eec_reserve(question *q, size_t bytes);

/* Memory with a guard behind it, filled with garbage. */
void *eec_take(question *q, size_t bytes);

/* Whether the bytes behind all of that memory are as they were. */
int eec_guards_hold(const question *q);

/* The next tensor of the answer. */
void *eec_output(question *q, const char *name, char dtype, size_t rows);
void *eec_output_matrix(question *q, const char *name, char dtype, size_t rows, size_t columns);

/* What the line of an op comes to: its tensors in order, NULL for one left out, and memory for its
 * results; its sizes, by letter. */
enum { MAX_INPUTS = 48, MAX_RESULTS = 4, SIZES = 26 };
typedef struct {
    void *in[MAX_INPUTS], *out[MAX_RESULTS];
    size_t in_count, out_count, sizes[SIZES];
} operands;

/* Takes what the line says (ee_ref/ops/_lines.py) from a question: checks names, dtypes, sizes and
 * rules, and lays rows out as kernels want them, int8 ones and those of weights padded. Whether all
 * is there. */
int eec_take_operands(question *q, operands *o, const char *line);

/* The results, as far as they do not lie in the answer already: int8 rows without their padding. */
void eec_give_results(question *q, const operands *o);

/* Whether there is a model; notes when there is none. */
int eec_has_model(question *q);

/* The tensor "features" (frames, mels of the model), or NULL. */
const tensor *eec_model_features(question *q);

/* Features (*frames, mels) of the tensor "samples", int16 or float, where `place` says; *status is
 * what the library says of them. NULL when it was not asked. */
float *eec_features_of_samples(question *q, size_t *frames, float *(*place)(question *, size_t),
                               ee_status *status);

/* Memory for so many frames of features. */
float *eec_features_memory(question *q, size_t frames);

typedef struct {
    const char *name;
    void (*run)(question *q);
} conformance_op;

/* Each ends with an op without a name. */
extern const conformance_op eec_ops[];
extern const conformance_op eec_ops_model[];
extern const conformance_op eec_ops_phrase[];
extern const conformance_op eec_ops_status[];

#endif
