#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_AVX2

#include <math.h>

#include "../../common/ee_exact_avx2.h"

EE_TARGET_BEGIN("avx2")

static inline __m256 centre(const float *x, size_t count, __m256 mean)
{
    return ee_exact_flush(_mm256_sub_ps(ee_exact_load(x, count), mean));
}

void ee_layer_norm_exact_avx2(float *out, const float *x, const float *weight, const float *bias,
                              size_t rows, size_t dim, float eps)
{
    const float one_over_dim = 1.0f / (float)dim;

    for (size_t t = 0; t < rows; t++) {
        const float *row = x + t * dim;

        __m256 lanes = _mm256_setzero_ps();
        for (size_t d = 0; d < dim; d += 8) {
            lanes = _mm256_add_ps(lanes, ee_exact_load(row + d, dim - d));
        }
        const __m256 mean = _mm256_set1_ps(ee_exact_sum(lanes) * one_over_dim);

        lanes = _mm256_setzero_ps();
        for (size_t d = 0; d < dim; d += 8) {
            const __m256 centred = centre(row + d, dim - d, mean);
            const __m256 square = _mm256_mul_ps(centred, centred);
            lanes = _mm256_add_ps(lanes, ee_exact_keep(square, dim - d));
        }
        const float variance = ee_exact_sum(lanes) * one_over_dim;
        const __m256 inverse = _mm256_set1_ps(1.0f / sqrtf(variance + eps));

        for (size_t d = 0; d < dim; d += 8) {
            const __m256 normal = _mm256_mul_ps(centre(row + d, dim - d, mean), inverse);
            const __m256 y = _mm256_mul_ps(normal, ee_exact_load(weight + d, dim - d));
            const __m256 b = ee_exact_load(bias + d, dim - d);
            ee_exact_store(out + t * dim + d, _mm256_add_ps(ee_exact_flush(y), b), dim - d);
        }
    }
}

EE_TARGET_END

#endif
