#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_DOT

#include "../../common/ee_exact_neon.h"
#include "../../common/ee_target.h"

/* Four rows by four outputs: SDOT adds four products of int8 to each of four int32, and eight loads
 * feed 16 of them. Sums lie along `in` and are added across lanes at the end. What lies behind the
 * last row or output is computed of the last one that exists, and not written. */
enum { TILE = 4 };

#if defined(__clang__)
EE_TARGET_BEGIN("dotprod")
#else
EE_TARGET_BEGIN("arch=armv8.2-a+dotprod")
#endif

static void linear_tile(float *out, const int8_t *q, const float *scale, const int8_t *weight,
                        const float *weight_scale, const float *bias, size_t rows, size_t outs,
                        size_t in, size_t out_stride, size_t q_stride, size_t weight_stride)
{
    const int8_t *qs[TILE], *weights[TILE];
    int32x4_t sums[TILE][TILE];

    EE_UNROLL
    for (size_t i = 0; i < TILE; i++) {
        qs[i] = q + ee_size_min(i, rows - 1) * q_stride;
        weights[i] = weight + ee_size_min(i, outs - 1) * weight_stride;
        EE_UNROLL
        for (size_t o = 0; o < TILE; o++) {
            sums[i][o] = vdupq_n_s32(0);
        }
    }
    for (size_t i = 0; i < in; i += 16) {
        int8x16_t w[TILE];

        EE_UNROLL
        for (size_t o = 0; o < TILE; o++) {
            w[o] = vld1q_s8(weights[o] + i);
        }
        EE_UNROLL
        for (size_t r = 0; r < TILE; r++) {
            const int8x16_t x = vld1q_s8(qs[r] + i);

            EE_UNROLL
            for (size_t o = 0; o < TILE; o++) {
                sums[r][o] = vdotq_s32(sums[r][o], x, w[o]);
            }
        }
    }
    EE_UNROLL
    for (size_t r = 0; r < TILE; r++) {
        if (r < rows) {
            const int32x4_t sum = vpaddq_s32(vpaddq_s32(sums[r][0], sums[r][1]),
                                             vpaddq_s32(sums[r][2], sums[r][3]));
            ee_exact_store_sums(out + r * out_stride, sum, scale[r], weight_scale, bias, outs);
        }
    }
}

void ee_linear_qs8_dot(float *out, const int8_t *q, const float *scale, const int8_t *weight,
                       const float *weight_scale, const float *bias,
                       size_t rows, size_t in, size_t outs,
                       size_t out_stride, size_t q_stride, size_t weight_stride)
{
    for (size_t o = 0; o < outs; o += TILE) {
        for (size_t t = 0; t < rows; t += TILE) {
            linear_tile(out + t * out_stride + o, q + t * q_stride, scale + t,
                        weight + o * weight_stride, weight_scale + o, bias ? bias + o : NULL,
                        ee_size_min(rows - t, TILE), ee_size_min(outs - o, TILE), in,
                        out_stride, q_stride, weight_stride);
        }
    }
}

EE_TARGET_END

#endif
