/* ee_avx2.h: masks and sums across lanes that the AVX2 and AVX-512 variants share. Eight floats a
 * vector; unaligned loads throughout, for they cost nothing extra within a cache line; the last,
 * partial vector of a row is read and written under a mask, so that no byte outside the arrays is
 * touched. */
#ifndef EE_AVX2_H
#define EE_AVX2_H

#include <immintrin.h>

#include "ee_target.h"

EE_TARGET_BEGIN("avx2,fma")

/* All ones in the first `lanes` of 8. */
static inline __m256i ee_avx2_mask(size_t lanes)
{
    static const int32_t ONES_ZEROS[16] = {-1, -1, -1, -1, -1, -1, -1, -1};

    return _mm256_loadu_si256((const __m256i *)(const void *)(ONES_ZEROS + 8 - lanes));
}

static inline float ee_avx2_sum(__m256 v)
{
    __m128 sum = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));

    sum = _mm_add_ps(sum, _mm_movehl_ps(sum, sum));
    return _mm_cvtss_f32(_mm_add_ss(sum, _mm_shuffle_ps(sum, sum, 1)));
}

static inline float ee_avx2_max(__m256 v)
{
    __m128 max = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));

    max = _mm_max_ps(max, _mm_movehl_ps(max, max));
    return _mm_cvtss_f32(_mm_max_ss(max, _mm_shuffle_ps(max, max, 1)));
}

EE_TARGET_END

#endif
