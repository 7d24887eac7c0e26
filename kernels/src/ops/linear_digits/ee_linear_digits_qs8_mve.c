#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_MVE_FLOATS

#include "../../common/ee_exact_mve.h"
#include "../../common/ee_products_mve.h"

/* float(high) * 128 + float(low), times the factor, of four outputs. */
static inline void store_joined(float *out, int32x4_t high, int32x4_t low, float32x4_t factor,
                                const float *bias)
{
    const float32x4_t sums = vaddq_f32(vmulq_n_f32(vcvtq_f32_s32(high), 128.0f),
                                       vcvtq_f32_s32(low));
    const float32x4_t y = vmulq_f32(sums, factor);

    vst1q_f32(out, bias ? vaddq_f32(y, vld1q_f32(bias)) : y);
}

/* The two digits of a row are the two rows of a tile. */
void ee_linear_digits_qs8_mve(float *out, const int8_t *high, const int8_t *low,
                              const float *scale, const int8_t *weight,
                              const float *weight_scale, const float *bias,
                              size_t rows, size_t in, size_t outs,
                              size_t out_stride, size_t q_stride, size_t weight_stride)
{
    const size_t groups = (in + 15) / 16;
    const size_t between = (size_t)(low - high);
    const size_t tiled = outs - outs % 4;

    /* Outputs outermost: their weights may lie in slow flash, the rows of x in RAM. */
    for (size_t o = 0; o < tiled; o += 4) {
        const int8_t *const w = weight + o * weight_stride;
        const float32x4_t scales
            = weight_scale ? vld1q_f32(weight_scale + o) : vdupq_n_f32(1.0f);

        for (size_t t = 0; t < rows; t++) {
            const int8_t *const x = high + t * q_stride;
            const products first = products_2x2(x, w, groups, between, weight_stride);
            const products second
                = products_2x2(x, w + 2 * weight_stride, groups, between, weight_stride);

            store_joined(out + t * out_stride + o, four_sums(first.row0, second.row0),
                         four_sums(first.row1, second.row1), vmulq_n_f32(scales, scale[t]),
                         bias ? bias + o : NULL);
        }
    }
    for (size_t o = tiled; o < outs; o++) {
        const int8_t *const w = weight + o * weight_stride;
        const float by = weight_scale ? weight_scale[o] : 1.0f;

        for (size_t t = 0; t < rows; t++) {
            const int32_t top = product_1x1(high + t * q_stride, w, groups);
            const int32_t rest = product_1x1(low + t * q_stride, w, groups);
            const float y = ((float)top * 128.0f + (float)rest) * (scale[t] * by);
            out[t * out_stride + o] = bias ? y + bias[o] : y;
        }
    }
}

#endif
