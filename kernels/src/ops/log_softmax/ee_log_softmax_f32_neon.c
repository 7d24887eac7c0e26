#include <math.h>

#include "ee_kernels.h"

#ifdef EE_HAVE_NEON

#include "../../common/ee_neon.h"

void ee_log_softmax_f32_neon(float *out, const float *x, size_t rows, size_t dim)
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

        float32x4_t sums = ee_neon_exp(vsubq_f32(last, max));
        for (size_t d = 0; d < whole; d += 4) {
            sums = vaddq_f32(sums, ee_neon_exp(vsubq_f32(vld1q_f32(x + d), max)));
        }
        const float32x4_t log_sum = vdupq_n_f32(logf(vaddvq_f32(sums)));

        for (size_t d = 0; d < whole; d += 4) {
            const float32x4_t v = vsubq_f32(vld1q_f32(x + d), max);
            vst1q_f32(out + d, vsubq_f32(v, log_sum));
        }
        ee_neon_store(out + whole, vsubq_f32(vsubq_f32(last, max), log_sum), left);
    }
}

#endif
