/* Entropies take an exp a label, which one at a time costs a tenth of a small model's layer. */
#include "ee.h"

#ifdef EE_HAVE_AVX2

#include "../common/ee_exact_avx2.h"

EE_TARGET_BEGIN("avx2")

uint32_t ee_exit_row_avx2(float *sum, const float *row, size_t vocab)
{
    const __m256 floor = _mm256_set1_ps(-87.0f);
    const __m256 max = _mm256_set1_ps(ee_exact_max(row, vocab));
    __m256 lanes = _mm256_setzero_ps();
    uint32_t label = 0;
    int found = 0;

    for (size_t v = 0; v < vocab; v += 8) {
        /* Lanes past the end hold 0: a term of 0, and a label that comes after one in the row. */
        const __m256 x = ee_exact_load(row + v, vocab - v);
        const __m256 log_p = _mm256_and_ps(x, _mm256_cmp_ps(x, floor, _CMP_GT_OQ));
        const int best = _mm256_movemask_ps(_mm256_cmp_ps(x, max, _CMP_EQ_OQ));

        lanes = _mm256_add_ps(lanes, _mm256_mul_ps(ee_exact_exp(log_p), log_p));
        if (best != 0 && !found) {
            label = (uint32_t)v + (uint32_t)__builtin_ctz((unsigned)best);
            found = 1;
        }
    }
    *sum = ee_exact_sum(lanes);
    return label;
}

EE_TARGET_END

#endif
