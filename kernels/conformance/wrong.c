/* Kernels of int8 mode with the lowest bit of their last value wrong. */
#include <string.h>

#include "ee_conformance.h"

/* What is handed out, and the kernels below the wrong one. */
static ee_ops ops;
static ee_ops_qs8 kernels;
static const ee_ops_qs8 *right;

static void flip(float *values, size_t count)
{
    uint32_t bits;

    if (count > 0) {
        memcpy(&bits, &values[count - 1], sizeof bits);
        bits ^= 1u;
        memcpy(&values[count - 1], &bits, sizeof bits);
    }
}

static void wrong_quantize(int8_t *q, float *scale, const float *x, size_t rows, size_t in,
                           size_t q_stride, size_t x_stride)
{
    right->quantize(q, scale, x, rows, in, q_stride, x_stride);
    if (rows > 0) {
        q[(rows - 1) * q_stride + in - 1] ^= 1;
    }
}

static void wrong_quantize_digits(int8_t *high, int8_t *low, float *scale, const float *x,
                                  size_t rows, size_t in, size_t q_stride, size_t x_stride)
{
    right->quantize_digits(high, low, scale, x, rows, in, q_stride, x_stride);
    if (rows > 0) {
        low[(rows - 1) * q_stride + in - 1] ^= 1;
    }
}

static void wrong_linear(float *out, const int8_t *q, const float *scale, const int8_t *weight,
                         const float *weight_scale, const float *bias, size_t rows, size_t in,
                         size_t outs, size_t out_stride, size_t q_stride, size_t weight_stride)
{
    right->linear(out, q, scale, weight, weight_scale, bias, rows, in, outs, out_stride, q_stride,
                  weight_stride);
    if (rows > 0) {
        flip(out + (rows - 1) * out_stride, outs);
    }
}

static void wrong_layer_norm(float *out, const float *x, const float *weight, const float *bias,
                             size_t rows, size_t dim, float eps)
{
    right->layer_norm(out, x, weight, bias, rows, dim, eps);
    flip(out, rows * dim);
}

static void wrong_silu(float *out, const float *x, size_t count)
{
    right->silu(out, x, count);
    flip(out, count);
}

static void wrong_gelu(float *out, const float *x, size_t count)
{
    right->gelu(out, x, count);
    flip(out, count);
}

static void wrong_glu(float *out, const float *x, size_t rows, size_t dim)
{
    right->glu(out, x, rows, dim);
    flip(out, rows * dim);
}

static void wrong_softmax(int8_t *high, int8_t *low, float *scale, float *x,
                          const float *value_scale, size_t rows, size_t dim, size_t q_stride)
{
    right->softmax(high, low, scale, x, value_scale, rows, dim, q_stride);
    flip(scale, rows);
}

static void wrong_log_softmax(float *out, const float *x, size_t rows, size_t dim)
{
    right->log_softmax(out, x, rows, dim);
    flip(out, rows * dim);
}

static void wrong_depthwise_conv(float *out, const float *x, const float *weight,
                                 const float *bias, size_t rows, size_t before, size_t after,
                                 size_t dim, size_t kernel, size_t ahead, size_t weight_stride)
{
    right->depthwise_conv(out, x, weight, bias, rows, before, after, dim, kernel, ahead,
                          weight_stride);
    flip(out, rows * dim);
}

/* Where a kernel multiplies both digits at once; elsewhere the ops have none. */
static void wrong_linear_digits(float *out, const int8_t *high, const int8_t *low,
                                const float *scale, const int8_t *weight,
                                const float *weight_scale, const float *bias, size_t rows,
                                size_t in, size_t outs, size_t out_stride, size_t q_stride,
                                size_t weight_stride)
{
    right->linear_digits(out, high, low, scale, weight, weight_scale, bias, rows, in, outs,
                         out_stride, q_stride, weight_stride);
    if (rows > 0) {
        flip(out + (rows - 1) * out_stride, outs);
    }
}

#define WRONG(kernel, mode)                       \
    if (strcmp(op, #kernel "_" #mode) == 0) {     \
        kernels.kernel = wrong_##kernel;          \
        return &ops;                              \
    }

const ee_ops *ee_conformance_wrong(const ee_ops *all, const char *op)
{
    right = all->qs8;
    kernels = *all->qs8;
    ops = *all;
    ops.qs8 = &kernels;
    WRONG(quantize, qs8)
    WRONG(quantize_digits, qs8)
    WRONG(linear, qs8)
    WRONG(layer_norm, exact)
    WRONG(silu, exact)
    WRONG(gelu, exact)
    WRONG(glu, exact)
    WRONG(softmax, qs8)
    WRONG(log_softmax, exact)
    WRONG(depthwise_conv, exact)
    if (right->linear_digits != NULL) {
        WRONG(linear_digits, qs8)
    }
    return NULL;
}
