/* ee_avx2.h: what the AVX2 variants share. Eight floats a vector; unaligned loads throughout, for
 * they cost nothing extra within a cache line; the last, partial vector of a row is read and
 * written under a mask, so that no byte outside the arrays is touched. */
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

/* exp(x) to 1 ulp where the result is normal; 0 for -inf, inf above 88.73, NaN for NaN.
 *
 * x = n ln 2 + r with |r| <= ln 2 / 2, so exp(x) = 2^n exp(r). ln 2 is taken away in two parts, the
 * first short enough for n * LN2_HIGH to be exact. The polynomial is that of Cephes expf (Moshier),
 * exp(r) = 1 + r + r^2 p(r). 2^n is applied as two factors: one alone would leave the exponent's
 * range where the result is subnormal or just below overflow. */
static inline __m256 ee_avx2_exp(__m256 x)
{
    const __m256 log2_e = _mm256_set1_ps(1.44269504f);
    const __m256 ln2_high = _mm256_set1_ps(0.693359375f);
    const __m256 ln2_low = _mm256_set1_ps(-2.12194440e-4f);

    /* Beyond these the result is 0 or infinite. In this order of operands NaN goes through. */
    x = _mm256_max_ps(_mm256_set1_ps(-104.0f), x);
    x = _mm256_min_ps(_mm256_set1_ps(89.0f), x);

    const __m256 n = _mm256_round_ps(_mm256_mul_ps(x, log2_e),
                                     _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m256 r = _mm256_fnmadd_ps(n, ln2_high, x);
    r = _mm256_fnmadd_ps(n, ln2_low, r);

    __m256 p = _mm256_set1_ps(1.9875691500e-4f);
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.3981999507e-3f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(8.3334519073e-3f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(4.1665795894e-2f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.6666665459e-1f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(5.0000001201e-1f));
    p = _mm256_fmadd_ps(p, _mm256_mul_ps(r, r), r);
    p = _mm256_add_ps(p, _mm256_set1_ps(1.0f));

    const __m256i exponent = _mm256_cvtps_epi32(n);
    const __m256i half = _mm256_srai_epi32(exponent, 1);
    const __m256i rest = _mm256_sub_epi32(exponent, half);
    const __m256i one = _mm256_set1_epi32(127);
    const __m256i factor1 = _mm256_slli_epi32(_mm256_add_epi32(half, one), 23);
    const __m256i factor2 = _mm256_slli_epi32(_mm256_add_epi32(rest, one), 23);
    return _mm256_mul_ps(_mm256_mul_ps(p, _mm256_castsi256_ps(factor1)),
                         _mm256_castsi256_ps(factor2));
}

/* value / (1 + exp(-gate)) */
static inline __m256 ee_avx2_gate(__m256 value, __m256 gate)
{
    const __m256 one = _mm256_set1_ps(1.0f);
    const __m256 negative = _mm256_xor_ps(gate, _mm256_set1_ps(-0.0f));

    return _mm256_div_ps(value, _mm256_add_ps(one, ee_avx2_exp(negative)));
}

EE_TARGET_END

#endif
