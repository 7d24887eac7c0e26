/* ee_exit_row_avx2.c with sixteen labels at once. The eight lanes of the sum (docs/numerics.md)
 * take the lower half of them first. */
#include "ee.h"

#ifdef EE_HAVE_AVX512

#include "../common/ee_exact_avx2.h"
#include "../common/ee_exact_avx512.h"

EE_TARGET_BEGIN("avx2,avx512f,avx512bw,avx512dq,avx512vl")

uint32_t ee_exit_row_avx512(float *sum, const float *row, size_t vocab)
{
    const __m512 floor = _mm512_set1_ps(-87.0f);
    __m512 max = _mm512_set1_ps(row[0]);
    __m256 lanes = _mm256_setzero_ps();
    uint32_t label = 0;
    int found = 0;

    for (size_t v = 0; v < vocab; v += 16) {
        const __mmask16 exists = ee_exact_lanes(vocab - v);
        max = _mm512_mask_max_ps(max, exists, max, _mm512_maskz_loadu_ps(exists, row + v));
    }
    max = _mm512_set1_ps(_mm512_reduce_max_ps(max));
    for (size_t v = 0; v < vocab; v += 16) {
        const __mmask16 exists = ee_exact_lanes(vocab - v);
        const __m512 x = _mm512_maskz_loadu_ps(exists, row + v);
        const __mmask16 counts = _mm512_cmp_ps_mask(x, floor, _CMP_GT_OQ);
        const __mmask16 best = _mm512_mask_cmp_ps_mask(exists, x, max, _CMP_EQ_OQ);
        /* A label that does not count has a term of 0. */
        const __m512 log_p = _mm512_maskz_mov_ps(counts, x);
        const __m512 terms = _mm512_mul_ps(ee_exact_exp16(log_p), log_p);

        lanes = _mm256_add_ps(lanes, _mm512_castps512_ps256(terms));
        lanes = _mm256_add_ps(lanes, _mm512_extractf32x8_ps(terms, 1));
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
