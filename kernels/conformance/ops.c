/* The ops: each takes what its line says and makes one call of the library. */
#include <string.h>

#include "conformance.h"

/* What calls are written with. A sum of sizes that is too large asks for too much memory. */
#define IN(i) o.in[i]
#define OUT(i) o.out[i]
#define N(letter) o.sizes[(letter) - 'A']
#define INTEGER(name) ((size_t)eec_integer(q, name))
#define EPS eec_number(q, "eps")
#define F32 q->port->ops->f32
#define QS8 q->port->ops->qs8
#define FLOATS(count) eec_product(count, sizeof(float))

/* `scratch`: so many bytes of memory. */
#define SCRATCH(bytes)                         \
    void *const scratch = eec_take(q, bytes);  \
    if (scratch == NULL) {                     \
        return;                                \
    }

/* `w`: the tensors of a layer, which follow x in the order of the struct. */
#define LAYER(weights) \
    weights w;         \
    memcpy(&w, &IN(1), sizeof w)

#define OP(name, line, ...)                     \
    static void run_##name(question *q)         \
    {                                           \
        operands o;                             \
                                                \
        if (!eec_take_operands(q, &o, line)) {  \
            return;                             \
        }                                       \
        __VA_ARGS__;                            \
        eec_give_results(q, &o);                \
    }
#include "ops.inc"
#undef OP

const conformance_op eec_ops[] = {
#define OP(name, line, ...) {#name, run_##name},
#include "ops.inc"
    {NULL, NULL},
};
