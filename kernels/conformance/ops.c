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

/* The newest of `count` rows, in memory for `most`; *kept says how many they are. */
static float *take_newest(question *q, const float *rows, size_t count, size_t most, size_t columns,
                          size_t *kept)
{
    float *const memory = eec_take(q, eec_product(most, eec_product(columns, sizeof *memory)));

    *kept = count < most ? count : most;
    if (memory != NULL && *kept > 0) {
        memcpy(memory, rows + (count - *kept) * columns, *kept * columns * sizeof *memory);
    }
    return memory;
}

/* The past of a layer, whose tensors are the last inputs. */
static ee_layer_past take_past(question *q, const operands *o, const ee_view *view)
{
    const size_t dim = o->sizes['D' - 'A'];
    ee_layer_past past;

    past.kv = take_newest(q, o->in[o->in_count - 2], o->sizes['P' - 'A'], view->left, 2 * dim,
                          &past.kv_rows);
    past.gated = take_newest(q, o->in[o->in_count - 1], o->sizes['Q' - 'A'],
                             o->sizes['K' - 'A'] - 1 - view->ahead, dim, &past.gated_rows);
    return past;
}

/* `w`: the tensors of a layer, which follow x in the order of the struct; `view` and `past`. */
#define LAYER(weights)                                                           \
    weights w;                                                                   \
    const ee_view view = {INTEGER("chunk"), INTEGER("left"), INTEGER("ahead")};  \
    ee_layer_past past = take_past(q, &o, &view);                                \
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
