#include <math.h>

#include "ee_kernels.h"

#ifdef EE_HAVE_AVX2

#include "../../ee_avx2.h"

EE_TARGET_BEGIN("avx2,fma")

void ee_layer_norm_f32_avx2(float *out, const float *x, const float *weight, const float *bias,
                            size_t rows, size_t dim, float eps)
{
    const size_t whole = dim / 8 * 8;
    const __m256i tail = ee_avx2_mask(dim - whole);

    for (size_t t = 0; t < rows; t++, out += dim, x += dim) {
        __m256 sum = _mm256_maskload_ps(x + whole, tail);
        for (size_t d = 0; d < whole; d += 8) {
            sum = _mm256_add_ps(sum, _mm256_loadu_ps(x + d));
        }
        const __m256 mean = _mm256_set1_ps(ee_avx2_sum(sum) / (float)dim);

        /* Lanes beyond the row would be centred to -mean: they are masked out again. */
        __m256 centred = _mm256_sub_ps(_mm256_maskload_ps(x + whole, tail), mean);
        centred = _mm256_and_ps(centred, _mm256_castsi256_ps(tail));
        __m256 squares = _mm256_mul_ps(centred, centred);
        for (size_t d = 0; d < whole; d += 8) {
            centred = _mm256_sub_ps(_mm256_loadu_ps(x + d), mean);
            squares = _mm256_fmadd_ps(centred, centred, squares);
        }
        const float variance = ee_avx2_sum(squares) / (float)dim;
        const __m256 scale = _mm256_set1_ps(1.0f / sqrtf(variance + eps));

        for (size_t d = 0; d < whole; d += 8) {
            centred = _mm256_sub_ps(_mm256_loadu_ps(x + d), mean);
            _mm256_storeu_ps(out + d, _mm256_fmadd_ps(_mm256_mul_ps(centred, scale),
                                                      _mm256_loadu_ps(weight + d),
                                                      _mm256_loadu_ps(bias + d)));
        }
        if (whole < dim) {
            centred = _mm256_sub_ps(_mm256_maskload_ps(x + whole, tail), mean);
            _mm256_maskstore_ps(out + whole, tail,
                                _mm256_fmadd_ps(_mm256_mul_ps(centred, scale),
                                                _mm256_maskload_ps(weight + whole, tail),
                                                _mm256_maskload_ps(bias + whole, tail)));
        }
    }
}

EE_TARGET_END

#endif
