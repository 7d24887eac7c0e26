#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_MVE

#include <arm_mve.h>

#include "../../common/ee_qs8.h"

/* Two rows by two outputs: four loads of 16 bytes feed four VMLADAVA, each of which multiplies 16
 * pairs and adds them all to one general register; a core that overlaps loads and products keeps
 * both busy. More sums do not fit, for only even registers will do. Rows begin aligned and are
 * padded to whole vectors, so no load is predicated. The floats are left to the scalar unit: the
 * vector unit flushes subnormal numbers to zero. */

static inline __attribute__((always_inline)) void
tile_2x2(float *out, const int8_t *q, const float *scale, const int8_t *weight,
         const float *weight_scale, const float *bias, size_t groups,
         size_t out_stride, size_t q_stride, size_t weight_stride)
{
    const int8_t *q1 = q + q_stride;
    const int8_t *weight1 = weight + weight_stride;
    int32_t sum00 = 0, sum01 = 0, sum10 = 0, sum11 = 0;

    do {
        const int8x16_t x0 = vldrbq_s8(q);
        const int8x16_t w0 = vldrbq_s8(weight);
        const int8x16_t x1 = vldrbq_s8(q1);
        const int8x16_t w1 = vldrbq_s8(weight1);

        sum00 = vmladavaq_s8(sum00, x0, w0);
        sum10 = vmladavaq_s8(sum10, x1, w0);
        sum01 = vmladavaq_s8(sum01, x0, w1);
        sum11 = vmladavaq_s8(sum11, x1, w1);
        q += 16;
        q1 += 16;
        weight += 16;
        weight1 += 16;
    } while (--groups > 0);

    ee_store_sum(out, sum00, scale[0], weight_scale[0], bias);
    ee_store_sum(out + out_stride, sum10, scale[1], weight_scale[0], bias);
    bias = bias ? bias + 1 : NULL;
    ee_store_sum(out + 1, sum01, scale[0], weight_scale[1], bias);
    ee_store_sum(out + out_stride + 1, sum11, scale[1], weight_scale[1], bias);
}

static void tile_1x1(float *out, const int8_t *q, const float *scale, const int8_t *weight,
                     const float *weight_scale, const float *bias, size_t groups)
{
    int32_t sum = 0;

    for (; groups > 0; groups--) {
        sum = vmladavaq_s8(sum, vldrbq_s8(q), vldrbq_s8(weight));
        q += 16;
        weight += 16;
    }
    ee_store_sum(out, sum, *scale, *weight_scale, bias);
}

void ee_linear_qs8_mve(float *out, const int8_t *q, const float *scale, const int8_t *weight,
                       const float *weight_scale, const float *bias,
                       size_t rows, size_t in, size_t outs,
                       size_t out_stride, size_t q_stride, size_t weight_stride)
{
    const size_t groups = (in + 15) / 16;
    const size_t even_rows = rows - rows % 2;
    const size_t even_outs = outs - outs % 2;

    /* Outputs outermost: their weights may lie in slow flash, the rows of x in RAM. */
    for (size_t o = 0; o < even_outs; o += 2) {
        const int8_t *const w = weight + o * weight_stride;
        const float *const b = bias ? bias + o : NULL;

        for (size_t t = 0; t < even_rows; t += 2) {
            tile_2x2(out + t * out_stride + o, q + t * q_stride, scale + t, w, weight_scale + o, b,
                     groups, out_stride, q_stride, weight_stride);
        }
    }
    /* What the tiles leave over: the last output of all rows, then the last row. */
    for (size_t o = 0; o < outs; o++) {
        for (size_t t = o < even_outs ? even_rows : 0; t < rows; t++) {
            tile_1x1(out + t * out_stride + o, q + t * q_stride, scale + t,
                     weight + o * weight_stride, weight_scale + o, bias ? bias + o : NULL, groups);
        }
    }
}

#endif
