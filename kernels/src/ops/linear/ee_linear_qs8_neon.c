#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_NEON

#include "../../common/ee_exact_neon.h"
#include "../../common/ee_target.h"

/* Two rows by four outputs. Two products of values in -127..127 fit int16 together (32258), so
 * SMULL is followed by one SMLAL, and SADALP adds the pairs to int32. Sums lie along `in` and are
 * added across lanes at the end. What lies behind the last row or output is computed of the last
 * one that exists, and not written. */
enum { TILE_ROWS = 2, TILE_OUTS = 4 };

static inline int32x4_t add_products(int32x4_t sum, int8x16_t x, int8x16_t w)
{
    const int16x8_t low = vmull_s8(vget_low_s8(x), vget_low_s8(w));

    return vpadalq_s16(sum, vmlal_s8(low, vget_high_s8(x), vget_high_s8(w)));
}

static void linear_tile(float *out, const int8_t *q, const float *scale, const int8_t *weight,
                        const float *weight_scale, const float *bias, size_t rows, size_t outs,
                        size_t in, size_t out_stride, size_t q_stride, size_t weight_stride)
{
    const int8_t *const q1 = q + (rows - 1) * q_stride;
    const int8_t *weights[TILE_OUTS];
    int32x4_t sums[TILE_ROWS][TILE_OUTS];

    EE_UNROLL
    for (size_t o = 0; o < TILE_OUTS; o++) {
        weights[o] = weight + ee_size_min(o, outs - 1) * weight_stride;
        sums[0][o] = sums[1][o] = vdupq_n_s32(0);
    }
    for (size_t i = 0; i < in; i += 16) {
        const int8x16_t x0 = vld1q_s8(q + i);
        const int8x16_t x1 = vld1q_s8(q1 + i);

        EE_UNROLL
        for (size_t o = 0; o < TILE_OUTS; o++) {
            const int8x16_t w = vld1q_s8(weights[o] + i);

            sums[0][o] = add_products(sums[0][o], x0, w);
            sums[1][o] = add_products(sums[1][o], x1, w);
        }
    }
    EE_UNROLL
    for (size_t r = 0; r < TILE_ROWS; r++) {
        if (r < rows) {
            const int32x4_t sum = vpaddq_s32(vpaddq_s32(sums[r][0], sums[r][1]),
                                             vpaddq_s32(sums[r][2], sums[r][3]));
            ee_exact_store_sums(out + r * out_stride, sum, scale[r], weight_scale, bias, outs);
        }
    }
}

void ee_linear_qs8_neon(float *out, const int8_t *q, const float *scale, const int8_t *weight,
                        const float *weight_scale, const float *bias,
                        size_t rows, size_t in, size_t outs,
                        size_t out_stride, size_t q_stride, size_t weight_stride)
{
    for (size_t o = 0; o < outs; o += TILE_OUTS) {
        for (size_t t = 0; t < rows; t += TILE_ROWS) {
            linear_tile(out + t * out_stride + o, q + t * q_stride, scale + t,
                        weight + o * weight_stride, weight_scale + o, bias ? bias + o : NULL,
                        ee_size_min(rows - t, TILE_ROWS), ee_size_min(outs - o, TILE_OUTS), in,
                        out_stride, q_stride, weight_stride);
        }
    }
}

#endif
