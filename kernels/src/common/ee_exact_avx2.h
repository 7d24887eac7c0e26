/* ee_exact_avx2.h: the float operations of int8 mode (docs/numerics.md), eight lanes at once.
 * Every lane does what ee_exact.h does, in the same order, so the bytes are the same. No fused
 * multiply-add: the files that include this are compiled for AVX2 without FMA. */
#ifndef EE_EXACT_AVX2_H
#define EE_EXACT_AVX2_H

#include <immintrin.h>

#include "ee_exact.h"
#include "ee_qs8.h"
#include "ee_target.h"

EE_TARGET_BEGIN("avx2")

/* All ones in the first `count` lanes, at most 8. */
static inline __m256i ee_exact_mask(size_t count)
{
    static const int32_t ONES_ZEROS[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
    const size_t lanes = count < 8 ? count : 8;

    return _mm256_loadu_si256((const __m256i *)(const void *)(ONES_ZEROS + 8 - lanes));
}

/* The first 8 of `count` floats, +0 where there are fewer. */
static inline __m256 ee_exact_load(const float *x, size_t count)
{
    return count >= 8 ? _mm256_loadu_ps(x) : _mm256_maskload_ps(x, ee_exact_mask(count));
}

/* Writes 8 floats, or only the first `count`. */
static inline void ee_exact_store(float *out, __m256 v, size_t count)
{
    if (count >= 8) {
        _mm256_storeu_ps(out, v);
    } else {
        _mm256_maskstore_ps(out, ee_exact_mask(count), v);
    }
}

/* v in the first `count` lanes, +0 in the others. */
static inline __m256 ee_exact_keep(__m256 v, size_t count)
{
    return _mm256_and_ps(v, _mm256_castsi256_ps(ee_exact_mask(count)));
}

static inline __m256 ee_exact_flush(__m256 v)
{
    const __m256 magnitude = _mm256_andnot_ps(_mm256_set1_ps(-0.0f), v);

    return _mm256_and_ps(
        v, _mm256_cmp_ps(magnitude, _mm256_set1_ps(EE_SMALLEST), _CMP_GE_OQ));
}

/* The tree of SUM: lanes 4 apart, then 2, then 1. */
static inline float ee_exact_sum(__m256 lanes)
{
    __m128 sum = _mm_add_ps(_mm256_castps256_ps128(lanes), _mm256_extractf128_ps(lanes, 1));

    sum = _mm_add_ps(sum, _mm_movehl_ps(sum, sum));
    return _mm_cvtss_f32(_mm_add_ss(sum, _mm_shuffle_ps(sum, sum, 1)));
}

/* The largest lane. */
static inline float ee_exact_largest(__m256 lanes)
{
    __m128 max = _mm_max_ps(_mm256_castps256_ps128(lanes), _mm256_extractf128_ps(lanes, 1));

    max = _mm_max_ps(max, _mm_movehl_ps(max, max));
    return _mm_cvtss_f32(_mm_max_ss(max, _mm_shuffle_ps(max, max, 1)));
}

/* max |x[i]|, 0 without values. */
static inline float ee_exact_largest_magnitude(const float *x, size_t count)
{
    const __m256 sign = _mm256_set1_ps(-0.0f);
    __m256 max = _mm256_setzero_ps();

    for (size_t i = 0; i < count; i += 8) {
        max = _mm256_max_ps(max, _mm256_andnot_ps(sign, ee_exact_load(x + i, count - i)));
    }
    return ee_exact_largest(max);
}

/* MAX of a row, count at least 1. */
static inline float ee_exact_max(const float *x, size_t count)
{
    __m256 max = _mm256_set1_ps(x[0]);
    size_t i = 0;

    for (; count - i >= 8; i += 8) {
        max = _mm256_max_ps(max, _mm256_loadu_ps(x + i));
    }
    if (i < count) {
        const __m256 exists = _mm256_castsi256_ps(ee_exact_mask(count - i));
        max = _mm256_max_ps(max, _mm256_blendv_ps(max, ee_exact_load(x + i, count - i), exists));
    }
    return ee_exact_largest(max) + 0.0f;
}

static inline __m256 ee_exact_exp(__m256 x)
{
    const __m256 rounder = _mm256_set1_ps(0x1.8p+23f);

    x = _mm256_min_ps(_mm256_max_ps(x, _mm256_set1_ps(-87.0f)), _mm256_set1_ps(88.0f));

    const __m256 shifted = _mm256_add_ps(_mm256_mul_ps(x, _mm256_set1_ps(0x1.715476p+0f)), rounder);
    const __m256 n = _mm256_sub_ps(shifted, rounder);
    const __m256 high = _mm256_sub_ps(x, _mm256_mul_ps(n, _mm256_set1_ps(0x1.63p-1f)));
    const __m256 r = _mm256_sub_ps(high, _mm256_mul_ps(n, _mm256_set1_ps(-0x1.bd0106p-13f)));
    __m256 p = _mm256_set1_ps(0x1.a0d2cep-13f);

    p = _mm256_add_ps(_mm256_mul_ps(p, r), _mm256_set1_ps(0x1.6e879cp-10f));
    p = _mm256_add_ps(_mm256_mul_ps(p, r), _mm256_set1_ps(0x1.11121p-7f));
    p = _mm256_add_ps(_mm256_mul_ps(p, r), _mm256_set1_ps(0x1.555382p-5f));
    p = _mm256_add_ps(_mm256_mul_ps(p, r), _mm256_set1_ps(0x1.555554p-3f));
    p = _mm256_add_ps(_mm256_mul_ps(p, r), _mm256_set1_ps(0x1p-1f));
    p = _mm256_add_ps(_mm256_mul_ps(p, _mm256_mul_ps(r, r)), r);
    p = _mm256_add_ps(p, _mm256_set1_ps(1.0f));

    const __m256i biased = _mm256_add_epi32(_mm256_castps_si256(shifted), _mm256_set1_epi32(127));
    return _mm256_mul_ps(p, _mm256_castsi256_ps(_mm256_slli_epi32(biased, 23)));
}

/* value / (1 + exp(-gate)) */
static inline __m256 ee_exact_gate(__m256 value, __m256 gate)
{
    const __m256 negative = _mm256_xor_ps(gate, _mm256_set1_ps(-0.0f));

    return _mm256_div_ps(value, _mm256_add_ps(_mm256_set1_ps(1.0f), ee_exact_exp(negative)));
}

/* Two vectors of int32 in -127..127 as 16 int8. */
static inline __m128i ee_exact_pack(__m256i a, __m256i b)
{
    const __m128i low = _mm_packs_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    const __m128i high = _mm_packs_epi32(_mm256_castsi256_si128(b), _mm256_extracti128_si256(b, 1));

    return _mm_packs_epi16(low, high);
}

EE_TARGET_END

#endif
