/* vectors.h: a case of golden vectors, and the table of the ops that can be asked for. */
#ifndef VECTORS_H
#define VECTORS_H

#include "ee.h"
#include "runner.h"

enum { VECTORS_MAX_INPUTS = 64, VECTORS_MAX_OUTPUTS = 80, VECTORS_MAX_GUARDS = 160 };

/* Statuses beside those of ee_status. */
enum {
    VECTORS_UNKNOWN_OP = -1000, /* this program does not know the op */
    VECTORS_BAD_CASE = -1001,   /* the case is damaged */
    VECTORS_OVERRUN = -1002     /* memory behind an output or the arena was written */
};

typedef struct {
    uint32_t type; /* 'f', 'b', 'h' or 'i' */
    size_t rows, columns;
    void *data; /* 16-byte aligned */
} vectors_array;

typedef struct {
    vectors_array inputs[VECTORS_MAX_INPUTS];
    size_t input_count;
    vectors_array outputs[VECTORS_MAX_OUTPUTS];
    size_t output_count;
    unsigned char *guards[VECTORS_MAX_GUARDS];
    size_t guard_count;
    runner_memory *memory;
    int keep; /* the memory of the case is not given back after it */
} vectors_case;

/* Memory between guards: bytes that must not change while the op runs. */
void *vectors_take(vectors_case *run, size_t bytes);

/* The next output of the op: such memory for (rows, columns). */
void *vectors_output(vectors_case *run, char type, size_t rows, size_t columns);

typedef struct {
    const char *name;
    int32_t (*run)(vectors_case *run);
} vectors_op;

/* Ends with an op without a name. */
extern const vectors_op VECTORS_OPS[];

/* vectors_ops.c */
/* Chooses the kernels by the name of an instruction set, NULL for the best of this CPU, and makes
 * one op wrong by a bit, `fault`, unless it is NULL. */
void vectors_setup(const char *isa, const char *fault);
const ee_ops *vectors_kernels(void);

/* vectors_model.c */
int32_t vectors_image(vectors_case *run);
int32_t vectors_features(vectors_case *run);
int32_t vectors_exits(vectors_case *run);
int32_t vectors_utterance(vectors_case *run);

#endif
