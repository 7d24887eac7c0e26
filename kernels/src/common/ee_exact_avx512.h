/* ee_exact_avx512.h: the float operations of int8 mode (docs/numerics.md), sixteen lanes at once,
 * with the same results. Sums of floats have eight lanes, a vector of AVX2.
 *
 * A product and a sum are fused where the product is exact, so that there is one rounding either
 * way; -ffp-contract=off keeps the compiler from fusing others. */
#ifndef EE_EXACT_AVX512_H
#define EE_EXACT_AVX512_H

#include <immintrin.h>

#include "ee_exact.h"
#include "ee_qs8.h"
#include "ee_target.h"

EE_TARGET_BEGIN("avx512f,avx512bw,avx512dq,avx512vl")

/* The first `count` lanes, at most 16. */
static inline __mmask16 ee_exact_lanes(size_t count)
{
    return (__mmask16)((1u << ee_size_min(count, 16)) - 1);
}

/* Those of vector `v` of a row of `count`. */
static inline __mmask16 ee_exact_lanes_at(size_t count, size_t v)
{
    return ee_exact_lanes(count > 16 * v ? count - 16 * v : 0);
}

/* Vectors that take each step of exp together. Its twenty steps wait for each other, and a core does
 * not look far enough ahead to find others to do meanwhile. On AMD Zen 5 exp of a vector takes 11.1
 * cycles alone, 9.9 with one other, 8.6 with three, 8.4 with seven. */
enum { EE_EXP_VECTORS = 4 };

/* Without optimisation GCC has macros for two of these intrinsics, with masks of the other sign. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wsign-conversion"
#define EACH EE_UNROLL for (size_t i = 0; i < count; i++)

/* exp of `count` vectors, a constant. With is_negative, a constant too, x is the negative of the
 * argument. Arguments lie in -88..88. The product of n, of 8 bits, and the first part of ln 2, of 9,
 * is exact, and so is that with 2^n, but where it is subnormal. */
static inline __attribute__((always_inline)) void
ee_exact_exps_within(__m512 *x, size_t count, int is_negative)
{
    static const float COEFFICIENTS[5] = {0x1.6e879cp-10f, 0x1.11121p-7f, 0x1.555382p-5f,
                                          0x1.555554p-3f, 0x1p-1f};
    const __m512 log2e = _mm512_set1_ps(is_negative ? -0x1.715476p+0f : 0x1.715476p+0f);
    const __m512 first = _mm512_set1_ps(0x1.63p-1f);
    const __m512 second = _mm512_set1_ps(-0x1.bd0106p-13f);
    __m512 n[EE_EXP_VECTORS], p[EE_EXP_VECTORS];

    EACH n[i] = _mm512_roundscale_ps(_mm512_mul_ps(x[i], log2e),
                                     _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    EACH x[i] = is_negative ? _mm512_fnmsub_ps(n[i], first, x[i])
                            : _mm512_fnmadd_ps(n[i], first, x[i]);
    EACH x[i] = _mm512_sub_ps(x[i], _mm512_mul_ps(n[i], second));
    EACH p[i] = _mm512_set1_ps(0x1.a0d2cep-13f);
    EE_UNROLL
    for (size_t k = 0; k < 5; k++) {
        EACH p[i] = _mm512_add_ps(_mm512_mul_ps(p[i], x[i]), _mm512_set1_ps(COEFFICIENTS[k]));
    }
    EACH p[i] = _mm512_mul_ps(p[i], _mm512_mul_ps(x[i], x[i]));
    EACH x[i] = _mm512_add_ps(_mm512_add_ps(p[i], x[i]), _mm512_set1_ps(1.0f));
    EACH x[i] = _mm512_scalef_ps(x[i], n[i]);
}

/* exp(x) of `count` vectors, a constant. */
static inline __attribute__((always_inline)) void ee_exact_exps(__m512 *x, size_t count)
{
    EACH x[i] = _mm512_max_ps(x[i], _mm512_set1_ps(-87.0f));
    EACH x[i] = _mm512_min_ps(x[i], _mm512_set1_ps(88.0f));
    ee_exact_exps_within(x, count, 0);
}

/* value becomes value / (1 + exp(-gate)), of `count` vectors, a constant. An argument of less than
 * -87 need not become -87: the sum is 1 in either case. */
static inline __attribute__((always_inline)) void
ee_exact_gates(__m512 *value, __m512 *gate, size_t count)
{
    enum { SMALLER_MAGNITUDE = 2 };
    const __m512 one = _mm512_set1_ps(1.0f);

    EACH gate[i] = _mm512_range_ps(gate[i], _mm512_set1_ps(88.0f), SMALLER_MAGNITUDE);
    ee_exact_exps_within(gate, count, 1);
    EACH value[i] = _mm512_div_ps(value[i], _mm512_add_ps(gate[i], one));
}

#undef EACH
#pragma GCC diagnostic pop

static inline __m512 ee_exact_exp16(__m512 x)
{
    ee_exact_exps(&x, 1);
    return x;
}

static inline __m512 ee_exact_gate16(__m512 value, __m512 gate)
{
    ee_exact_gates(&value, &gate, 1);
    return value;
}

/* FLUSH */
static inline __m512 ee_exact_flush16(__m512 v)
{
    const __mmask16 counts = _mm512_cmp_ps_mask(_mm512_abs_ps(v), _mm512_set1_ps(EE_SMALLEST),
                                                _CMP_GE_OQ);

    return _mm512_maskz_mov_ps(counts, v);
}

/* MAX of a row, count at least 1. */
static inline float ee_exact_max16(const float *x, size_t count)
{
    __m512 a = _mm512_set1_ps(x[0]), b = a;
    size_t i = 0;

    for (; count - i >= 32; i += 32) {
        a = _mm512_max_ps(a, _mm512_loadu_ps(x + i));
        b = _mm512_max_ps(b, _mm512_loadu_ps(x + i + 16));
    }
    for (; i < count; i += 16) {
        const __mmask16 exists = ee_exact_lanes(count - i);
        a = _mm512_mask_max_ps(a, exists, a, _mm512_maskz_loadu_ps(exists, x + i));
    }
    return _mm512_reduce_max_ps(_mm512_max_ps(a, b)) + 0.0f;
}

/* Magnitudes are compared as integers, which orders floats without a sign alike. */
static inline __m512i ee_exact_magnitudes(__m512 v)
{
    return _mm512_and_si512(_mm512_castps_si512(v), _mm512_set1_epi32(0x7FFFFFFF));
}

/* max |x[i]|, 0 without values. */
static inline float ee_exact_largest_magnitude16(const float *x, size_t count)
{
    __m512i a = _mm512_setzero_si512(), b = a;
    size_t i = 0;

    for (; count - i >= 32; i += 32) {
        a = _mm512_max_epi32(a, ee_exact_magnitudes(_mm512_loadu_ps(x + i)));
        b = _mm512_max_epi32(b, ee_exact_magnitudes(_mm512_loadu_ps(x + i + 16)));
    }
    for (; i < count; i += 16) {
        const __m512 v = _mm512_maskz_loadu_ps(ee_exact_lanes(count - i), x + i);
        a = _mm512_max_epi32(a, ee_exact_magnitudes(v));
    }
    return ee_bits_float((uint32_t)_mm512_reduce_max_epi32(_mm512_max_epi32(a, b)));
}

/* The eight lanes of SUM after sixteen more values. */
static inline __m256 ee_exact_add16(__m256 lanes, __m512 v)
{
    lanes = _mm256_add_ps(lanes, _mm512_castps512_ps256(v));
    return _mm256_add_ps(lanes, _mm512_extractf32x8_ps(v, 1));
}

/* Four vectors of int32 in -127..127 as 64 int8. */
static inline __m512i ee_exact_pack64(const __m512i v[4])
{
    const __m512i in_order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11,
                                               15);
    const __m512i both = _mm512_packs_epi16(_mm512_packs_epi32(v[0], v[1]),
                                            _mm512_packs_epi32(v[2], v[3]));

    return _mm512_permutexvar_epi32(in_order, both);
}

EE_TARGET_END

#endif
