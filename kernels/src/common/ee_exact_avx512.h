/* ee_exact_avx512.h: the elementwise part of ee_exact_avx2.h, sixteen lanes at once: the same
 * operations in the same order. Sums of floats have eight lanes (docs/numerics.md) and stay there.
 * AVX-512 brings fused multiply-add along; -ffp-contract=off keeps the compiler from using it. */
#ifndef EE_EXACT_AVX512_H
#define EE_EXACT_AVX512_H

#include <immintrin.h>

#include "ee_qs8.h"
#include "ee_target.h"

EE_TARGET_BEGIN("avx512f,avx512bw,avx512dq,avx512vl")

/* The first `count` lanes, at most 16. */
static inline __mmask16 ee_exact_lanes(size_t count)
{
    return (__mmask16)((1u << ee_size_min(count, 16)) - 1);
}

static inline __m512 ee_exact_exp16(__m512 x)
{
    const __m512 rounder = _mm512_set1_ps(0x1.8p+23f);

    x = _mm512_min_ps(_mm512_max_ps(x, _mm512_set1_ps(-87.0f)), _mm512_set1_ps(88.0f));

    const __m512 shifted = _mm512_add_ps(_mm512_mul_ps(x, _mm512_set1_ps(0x1.715476p+0f)), rounder);
    const __m512 n = _mm512_sub_ps(shifted, rounder);
    const __m512 high = _mm512_sub_ps(x, _mm512_mul_ps(n, _mm512_set1_ps(0x1.63p-1f)));
    const __m512 r = _mm512_sub_ps(high, _mm512_mul_ps(n, _mm512_set1_ps(-0x1.bd0106p-13f)));
    __m512 p = _mm512_set1_ps(0x1.a0d2cep-13f);

    p = _mm512_add_ps(_mm512_mul_ps(p, r), _mm512_set1_ps(0x1.6e879cp-10f));
    p = _mm512_add_ps(_mm512_mul_ps(p, r), _mm512_set1_ps(0x1.11121p-7f));
    p = _mm512_add_ps(_mm512_mul_ps(p, r), _mm512_set1_ps(0x1.555382p-5f));
    p = _mm512_add_ps(_mm512_mul_ps(p, r), _mm512_set1_ps(0x1.555554p-3f));
    p = _mm512_add_ps(_mm512_mul_ps(p, r), _mm512_set1_ps(0x1p-1f));
    p = _mm512_add_ps(_mm512_mul_ps(p, _mm512_mul_ps(r, r)), r);
    p = _mm512_add_ps(p, _mm512_set1_ps(1.0f));

    const __m512i biased = _mm512_add_epi32(_mm512_castps_si512(shifted), _mm512_set1_epi32(127));
    return _mm512_mul_ps(p, _mm512_castsi512_ps(_mm512_slli_epi32(biased, 23)));
}

/* value / (1 + exp(-gate)) */
static inline __m512 ee_exact_gate16(__m512 value, __m512 gate)
{
    const __m512 negative = _mm512_xor_ps(gate, _mm512_set1_ps(-0.0f));

    return _mm512_div_ps(value, _mm512_add_ps(_mm512_set1_ps(1.0f), ee_exact_exp16(negative)));
}

EE_TARGET_END

#endif
