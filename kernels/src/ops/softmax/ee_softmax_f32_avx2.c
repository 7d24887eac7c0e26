#include <math.h>

#include "ee_kernels.h"

#ifdef EE_HAVE_AVX2

#include "../../ee_avx2.h"

EE_TARGET_BEGIN("avx2,fma")

void ee_softmax_f32_avx2(float *out, const float *x, size_t rows, size_t dim)
{
    const size_t whole = dim / 8 * 8;
    const __m256i tail = ee_avx2_mask(dim - whole);
    /* Lanes beyond the row count as -inf: no maximum, and nothing to the sum. */
    const __m256 nothing = _mm256_set1_ps(-INFINITY);

    for (size_t t = 0; t < rows; t++, out += dim, x += dim) {
        const __m256 last = _mm256_blendv_ps(nothing, _mm256_maskload_ps(x + whole, tail),
                                             _mm256_castsi256_ps(tail));

        __m256 maxima = last;
        for (size_t d = 0; d < whole; d += 8) {
            maxima = _mm256_max_ps(maxima, _mm256_loadu_ps(x + d));
        }
        const __m256 max = _mm256_set1_ps(ee_avx2_max(maxima));

        const __m256 last_exp = ee_avx2_exp(_mm256_sub_ps(last, max));
        __m256 sums = last_exp;
        for (size_t d = 0; d < whole; d += 8) {
            const __m256 e = ee_avx2_exp(_mm256_sub_ps(_mm256_loadu_ps(x + d), max));
            sums = _mm256_add_ps(sums, e);
            _mm256_storeu_ps(out + d, e);
        }
        const __m256 scale = _mm256_set1_ps(1.0f / ee_avx2_sum(sums));

        for (size_t d = 0; d < whole; d += 8) {
            _mm256_storeu_ps(out + d, _mm256_mul_ps(_mm256_loadu_ps(out + d), scale));
        }
        if (whole < dim) {
            _mm256_maskstore_ps(out + whole, tail, _mm256_mul_ps(last_exp, scale));
        }
    }
}

EE_TARGET_END

#endif
