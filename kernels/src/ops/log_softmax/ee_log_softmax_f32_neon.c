#include <math.h>

#include "ee_kernels.h"

#ifdef EE_HAVE_NEON

#include "../../ee_neon.h"

void ee_log_softmax_f32_neon(float *out, const float *x, size_t rows, size_t dim)
{
    for (size_t t = 0; t < rows; t++, out += dim, x += dim) {
        /* Lanes beyond the row count as -inf: no maximum, and nothing to the sum. */
        float32x4_t maxima = vdupq_n_f32(-INFINITY);
        for (size_t d = 0; d < dim; d += 4) {
            maxima = vmaxq_f32(maxima, ee_neon_load(x + d, dim - d, -INFINITY));
        }
        const float32x4_t max = vdupq_n_f32(vmaxvq_f32(maxima));

        float32x4_t sums = vdupq_n_f32(0.0f);
        for (size_t d = 0; d < dim; d += 4) {
            const float32x4_t v = ee_neon_load(x + d, dim - d, -INFINITY);
            sums = vaddq_f32(sums, ee_neon_exp(vsubq_f32(v, max)));
        }
        const float32x4_t log_sum = vdupq_n_f32(logf(vaddvq_f32(sums)));

        for (size_t d = 0; d < dim; d += 4) {
            const float32x4_t v = vsubq_f32(ee_neon_load(x + d, dim - d, 0.0f), max);
            ee_neon_store(out + d, vsubq_f32(v, log_sum), dim - d);
        }
    }
}

#endif
