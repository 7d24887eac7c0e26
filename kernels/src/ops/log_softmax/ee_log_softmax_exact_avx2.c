#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_AVX2

#include "../../common/ee_exact.h"
#include "../../common/ee_exact_avx2.h"

EE_TARGET_BEGIN("avx2")

void ee_log_softmax_exact_avx2(float *out, const float *x, size_t rows, size_t dim)
{
    for (size_t t = 0; t < rows; t++) {
        const float *row = x + t * dim;
        const __m256 max = _mm256_set1_ps(ee_exact_max(row, dim));

        __m256 lanes = _mm256_setzero_ps();
        for (size_t d = 0; d < dim; d += 8) {
            const __m256 e = ee_exact_exp(_mm256_sub_ps(ee_exact_load(row + d, dim - d), max));
            lanes = _mm256_add_ps(lanes, ee_exact_keep(e, dim - d));
        }
        const __m256 log_sum = _mm256_set1_ps(ee_log(ee_exact_sum(lanes)));
        for (size_t d = 0; d < dim; d += 8) {
            const __m256 shifted = _mm256_sub_ps(ee_exact_load(row + d, dim - d), max);
            ee_exact_store(out + t * dim + d, _mm256_sub_ps(shifted, log_sum), dim - d);
        }
    }
}

EE_TARGET_END

#endif
