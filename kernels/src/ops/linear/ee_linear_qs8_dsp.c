#include <string.h>

#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_DSP

#include <arm_acle.h>

#include "../../common/ee_qs8.h"

/* Two rows by two outputs: SMLAD multiplies two pairs of int16 and adds both products to a sum.
 * SXTB16 widens bytes 0 and 2 of a word, and bytes 1 and 3 after a rotation; the order of products
 * is free. So eight extensions and four loads serve eight SMLAD, where a single output would need
 * four and two for two. */

/* Bytes 0 and 2, then 1 and 3, of four int8 as two int16 each. */
typedef struct {
    int16x2_t even, odd;
} wide;

static inline wide load_wide(const int8_t *from)
{
    wide result;
    int8x4_t bytes;

    memcpy(&bytes, __builtin_assume_aligned(from, 4), sizeof(bytes));
    result.even = __sxtb16(bytes);
    /* One instruction, which the compiler does not make of __sxtb16 and __ror. */
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(result.odd) : "r"(bytes));
    return result;
}

static inline int32_t add_products(int32_t sum, wide x, wide w)
{
    return __smlad(x.odd, w.odd, __smlad(x.even, w.even, sum));
}

static inline __attribute__((always_inline)) void
tile_2x2(float *out, const int8_t *q, const float *scale, const int8_t *weight,
         const float *weight_scale, const float *bias, size_t in,
         size_t out_stride, size_t q_stride, size_t weight_stride)
{
    const int8_t *const end = q + in;
    const int8_t *q1 = q + q_stride;
    const int8_t *weight1 = weight + weight_stride;
    int32_t sum00 = 0, sum01 = 0, sum10 = 0, sum11 = 0;

    /* Rows are padded to 16, so that the last group of four is whole. */
    do {
        const wide x0 = load_wide(q);
        const wide x1 = load_wide(q1);
        const wide w0 = load_wide(weight);
        sum00 = add_products(sum00, x0, w0);
        sum10 = add_products(sum10, x1, w0);
        const wide w1 = load_wide(weight1);
        sum01 = add_products(sum01, x0, w1);
        sum11 = add_products(sum11, x1, w1);
        q += 4;
        q1 += 4;
        weight += 4;
        weight1 += 4;
    } while (q < end);

    ee_store_sum(out, sum00, scale[0], weight_scale[0], bias);
    ee_store_sum(out + out_stride, sum10, scale[1], weight_scale[0], bias);
    bias = bias ? bias + 1 : NULL;
    ee_store_sum(out + 1, sum01, scale[0], weight_scale[1], bias);
    ee_store_sum(out + out_stride + 1, sum11, scale[1], weight_scale[1], bias);
}

static void tile_1x1(float *out, const int8_t *q, const float *scale, const int8_t *weight,
                     const float *weight_scale, const float *bias, size_t in)
{
    int32_t sum = 0;

    for (size_t i = 0; i < in; i += 4) {
        sum = add_products(sum, load_wide(q + i), load_wide(weight + i));
    }
    ee_store_sum(out, sum, *scale, *weight_scale, bias);
}

void ee_linear_qs8_dsp(float *out, const int8_t *q, const float *scale, const int8_t *weight,
                       const float *weight_scale, const float *bias,
                       size_t rows, size_t in, size_t outs,
                       size_t out_stride, size_t q_stride, size_t weight_stride)
{
    const size_t even_rows = rows - rows % 2;
    const size_t even_outs = outs - outs % 2;

    /* Outputs outermost: their weights may lie in slow flash, the rows of x in RAM. */
    for (size_t o = 0; o < even_outs; o += 2) {
        const int8_t *const w = weight + o * weight_stride;
        const float *const b = bias ? bias + o : NULL;

        for (size_t t = 0; t < even_rows; t += 2) {
            tile_2x2(out + t * out_stride + o, q + t * q_stride, scale + t, w, weight_scale + o, b,
                     in, out_stride, q_stride, weight_stride);
        }
    }
    /* What the tiles leave over: the last output of all rows, then the last row. */
    for (size_t o = 0; o < outs; o++) {
        for (size_t t = o < even_outs ? even_rows : 0; t < rows; t++) {
            tile_1x1(out + t * out_stride + o, q + t * q_stride, scale + t,
                     weight + o * weight_stride, weight_scale + o, bias ? bias + o : NULL, in);
        }
    }
}

#endif
