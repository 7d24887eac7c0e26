/* What both modes ask alike: rows of floats, and the ops over them that have one prototype. */
#include "conformance.h"

#include <string.h>

const tensor *eec_checked(question *q, const tensor *matrix)
{
    if (matrix != NULL && (matrix->shape[1] == 0 || matrix->shape[0] > EE_MAX_SIZE
                           || matrix->shape[1] > EE_MAX_SIZE)) {
        eec_fail(q, CODE_ARGUMENT,
                 "a matrix of 1 to 65536 columns and at most as many rows expected", matrix->name);
    }
    return q->code == CODE_NONE ? matrix : NULL;
}

const tensor *eec_input(question *q)
{
    return eec_checked(q, eec_argument(q, "x", 'f', 2));
}

size_t eec_heads(question *q, const tensor *x)
{
    const int32_t heads = eec_integer(q, "heads");

    if (x == NULL || heads < 1 || x->shape[1] % (size_t)heads != 0) {
        eec_fail(q, CODE_ARGUMENT, "a divisor of dim expected", "heads");
        return 0;
    }
    return (size_t)heads;
}

size_t eec_stride(question *q)
{
    const int32_t stride = eec_integer(q, "stride");

    if (stride < 1) {
        eec_fail(q, CODE_ARGUMENT, "a stride of at least 1 expected", "stride");
        return 0;
    }
    return (size_t)stride;
}

const tensor *eec_matrix(question *q, const char *name, char dtype, size_t *outs, size_t in)
{
    const tensor *const matrix = eec_checked(q, eec_argument(q, name, dtype, 2));

    if (matrix == NULL) {
        return NULL;
    }
    if (matrix->shape[1] != in || (*outs != 0 && matrix->shape[0] != *outs)
        || matrix->shape[0] == 0) {
        eec_fail(q, CODE_ARGUMENT, "a matrix of another size expected", name);
        return NULL;
    }
    *outs = matrix->shape[0];
    return matrix;
}

const float *eec_float_weights(question *q, const char *name, size_t *outs, size_t in)
{
    const tensor *const matrix = eec_matrix(q, name, 'f', outs, in);

    if (matrix == NULL) {
        return NULL;
    }
    const size_t stride = ee_row_stride(in);
    if (stride == in) {
        return matrix->data;
    }
    float *const padded = eec_take(q, eec_product(eec_product(*outs, stride), sizeof *padded));
    for (size_t o = 0; padded != NULL && o < *outs; o++) {
        memcpy(padded + o * stride, (const float *)matrix->data + o * in, in * sizeof *padded);
        memset(padded + o * stride + in, WEIGHT_FILL, (stride - in) * sizeof *padded);
    }
    return padded;
}

const float *eec_depthwise_weights(question *q, const char *name, size_t *kernel, size_t dim)
{
    *kernel = 0;
    const float *const found = eec_float_weights(q, name, kernel, dim);

    if (*kernel % 2 == 0) {
        eec_fail(q, CODE_ARGUMENT, "a matrix (odd kernel, dim) expected", name);
    }
    return found;
}

void eec_ask_layer_norm(question *q, void (*kernel)(float *, const float *, const float *,
                                                    const float *, size_t, size_t, float))
{
    const tensor *const x = eec_input(q);

    if (x == NULL) {
        return;
    }
    const size_t rows = x->shape[0], dim = x->shape[1];
    const float *const weight = eec_floats(q, "weight", dim);
    const float *const bias = eec_floats(q, "bias", dim);
    const float eps = eec_number(q, "eps");
    float *const y = eec_output_matrix(q, "y", rows, dim);
    if (q->code == CODE_NONE) {
        kernel(y, x->data, weight, bias, rows, dim, eps);
    }
}

void eec_ask_silu(question *q, void (*kernel)(float *, const float *, size_t))
{
    const tensor *const x = eec_input(q);

    if (x == NULL) {
        return;
    }
    float *const y = eec_output_matrix(q, "y", x->shape[0], x->shape[1]);
    if (q->code == CODE_NONE) {
        kernel(y, x->data, x->shape[0] * x->shape[1]);
    }
}

void eec_ask_glu(question *q, void (*kernel)(float *, const float *, size_t, size_t))
{
    const tensor *const x = eec_input(q);

    if (x == NULL) {
        return;
    }
    const size_t dim = x->shape[1] / 2;
    float *const y = eec_output_matrix(q, "y", x->shape[0], dim);
    if (q->code == CODE_NONE) {
        kernel(y, x->data, x->shape[0], dim);
    }
}

void eec_ask_log_softmax(question *q, void (*kernel)(float *, const float *, size_t, size_t))
{
    const tensor *const x = eec_input(q);

    if (x == NULL) {
        return;
    }
    float *const y = eec_output_matrix(q, "y", x->shape[0], x->shape[1]);
    if (q->code == CODE_NONE) {
        kernel(y, x->data, x->shape[0], x->shape[1]);
    }
}

void eec_ask_depthwise_conv(question *q, void (*kernel)(float *, const float *, const float *,
                                                        const float *, size_t, size_t, size_t,
                                                        size_t, size_t, size_t))
{
    const tensor *const x = eec_input(q);
    size_t taps = 0;

    if (x == NULL) {
        return;
    }
    const size_t rows = x->shape[0], dim = x->shape[1];
    const float *const weight = eec_depthwise_weights(q, "weight", &taps, dim);
    const float *const bias = eec_floats(q, "bias", dim);
    float *const y = eec_output_matrix(q, "y", rows, dim);
    if (q->code == CODE_NONE) {
        kernel(y, x->data, weight, bias, rows, 0, rows, dim, taps, ee_row_stride(dim));
    }
}
