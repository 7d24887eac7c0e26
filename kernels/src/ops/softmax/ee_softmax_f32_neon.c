#include <math.h>

#include "ee_kernels.h"

#ifdef EE_HAVE_NEON

#include "../../common/ee_neon.h"

void ee_softmax_f32_neon(float *out, const float *x, size_t rows, size_t dim)
{
    const size_t whole = dim - dim % 4, left = dim % 4;

    for (size_t t = 0; t < rows; t++, out += dim, x += dim) {
        /* Lanes beyond the row count as -inf: no maximum, and nothing to the sum. */
        const float32x4_t last = ee_neon_load(x + whole, left, -INFINITY);

        float32x4_t maxima = last;
        for (size_t d = 0; d < whole; d += 4) {
            maxima = vmaxq_f32(maxima, vld1q_f32(x + d));
        }
        const float32x4_t max = vdupq_n_f32(vmaxvq_f32(maxima));

        const float32x4_t last_exp = ee_neon_exp(vsubq_f32(last, max));
        float32x4_t sums = last_exp;
        for (size_t d = 0; d < whole; d += 4) {
            const float32x4_t e = ee_neon_exp(vsubq_f32(vld1q_f32(x + d), max));
            sums = vaddq_f32(sums, e);
            vst1q_f32(out + d, e);
        }
        const float scale = 1.0f / vaddvq_f32(sums);

        for (size_t d = 0; d < whole; d += 4) {
            vst1q_f32(out + d, vmulq_n_f32(vld1q_f32(out + d), scale));
        }
        ee_neon_store(out + whole, vmulq_n_f32(last_exp, scale), left);
    }
}

#endif
