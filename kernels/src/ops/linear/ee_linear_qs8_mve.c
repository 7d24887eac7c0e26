#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_MVE

#include "../../common/ee_products_mve.h"

/* Four outputs of one row, of which each pair has its sums. */
static inline void store_sums(float *out, const int32_t a[2], const int32_t b[2], float scale,
                              const float *weight_scale, const float *bias)
{
#ifdef EE_HAVE_MVE_FLOATS
    const float32x4_t factor = vmulq_n_f32(vld1q_f32(weight_scale), scale);
    const float32x4_t y = vmulq_f32(vcvtq_f32_s32(four_sums(a, b)), factor);

    vst1q_f32(out, bias ? vaddq_f32(y, vld1q_f32(bias)) : y);
#else
    for (size_t o = 0; o < 4; o++) {
        ee_store_sum(out + o, o < 2 ? a[o] : b[o - 2], scale, weight_scale[o],
                     bias ? bias + o : NULL);
    }
#endif
}

void ee_linear_qs8_mve(float *out, const int8_t *q, const float *scale, const int8_t *weight,
                       const float *weight_scale, const float *bias,
                       size_t rows, size_t in, size_t outs,
                       size_t out_stride, size_t q_stride, size_t weight_stride)
{
    const size_t groups = (in + 15) / 16;
    const size_t tiled_rows = rows - rows % 2;
    const size_t tiled_outs = outs - outs % 4;

    /* Outputs outermost: their weights may lie in slow flash, the rows of x in RAM. */
    for (size_t o = 0; o < tiled_outs; o += 4) {
        const int8_t *const w = weight + o * weight_stride;
        const float *const scales = weight_scale + o;
        const float *const b = bias ? bias + o : NULL;

        for (size_t t = 0; t < tiled_rows; t += 2) {
            const int8_t *const x = q + t * q_stride;
            float *const y = out + t * out_stride + o;
            const products first = products_2x2(x, w, groups, q_stride, weight_stride);
            const products second
                = products_2x2(x, w + 2 * weight_stride, groups, q_stride, weight_stride);

            store_sums(y, first.row0, second.row0, scale[t], scales, b);
            store_sums(y + out_stride, first.row1, second.row1, scale[t + 1], scales, b);
        }
    }
    /* What the tiles leave over: the last outputs of all rows, then the last row. */
    for (size_t o = 0; o < outs; o++) {
        for (size_t t = o < tiled_outs ? tiled_rows : 0; t < rows; t++) {
            const int32_t sum = product_1x1(q + t * q_stride, weight + o * weight_stride, groups);
            ee_store_sum(out + t * out_stride + o, sum, scale[t], weight_scale[o],
                         bias ? bias + o : NULL);
        }
    }
}

#endif
