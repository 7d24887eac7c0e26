#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_NEON

#include "../../ee_exact_neon.h"
#include "../../ee_target.h"

enum { GROUP = 16 };

/* p of 16 values, or of `count`, then 0; written as two digits. Returns four sums of p. */
static inline __attribute__((always_inline)) int32x4_t
softmax_group(int8_t *high, int8_t *low, const float *x, size_t count, float32x4_t max)
{
    int32x4_t p[4], highs[4];

    EE_UNROLL
    for (size_t i = 0; i < 4; i++) {
        if (count <= 4 * i) {
            p[i] = vdupq_n_s32(0);
        } else {
            const float32x4_t v = ee_neon_load(x + 4 * i, count - 4 * i, 0.0f);
            const float32x4_t e = ee_exact_exp4(vsubq_f32(v, max));
            p[i] = vcvtnq_s32_f32(vmulq_n_f32(e, EE_TOP_PROBABILITY)); /* rounds to even */
        }
        if (count < 4 * i + 4 && count > 4 * i) {
            static const int32_t ONES_ZEROS[8] = {-1, -1, -1, -1};
            p[i] = vandq_s32(p[i], vld1q_s32(ONES_ZEROS + 4 * i + 4 - count));
        }
        highs[i] = vshrq_n_s32(p[i], 7);
    }
    /* The low digit is the lowest byte without its highest bit. */
    vst1q_s8(high, ee_exact_pack(highs));
    vst1q_s8(low, vandq_s8(ee_exact_pack(p), vdupq_n_s8(127)));
    return vaddq_s32(vaddq_s32(p[0], p[1]), vaddq_s32(p[2], p[3]));
}

void ee_softmax_qs8_neon(int8_t *high, int8_t *low, float *inverse, const float *x,
                         size_t rows, size_t dim, size_t q_stride)
{
    const size_t whole = dim - dim % GROUP;

    for (size_t t = 0; t < rows; t++, high += q_stride, low += q_stride) {
        const float *row = x + t * dim;
        const float32x4_t max = vdupq_n_f32(ee_exact_max(row, dim));
        int32x4_t sums = vdupq_n_s32(0);

        for (size_t d = 0; d < whole; d += GROUP) {
            sums = vaddq_s32(sums, softmax_group(high + d, low + d, row + d, GROUP, max));
        }
        if (whole < dim) {
            sums = vaddq_s32(sums, softmax_group(high + whole, low + whole, row + whole,
                                                 dim - whole, max));
        }
        inverse[t] = 1.0f / (float)vaddvq_s32(sums);
    }
}

#endif
