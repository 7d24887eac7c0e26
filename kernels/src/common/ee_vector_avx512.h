/* ee_vector_avx512.h: the names of ee_vector_avx2.h with AVX-512. */
#ifndef EE_VECTOR_AVX512_H
#define EE_VECTOR_AVX512_H

#include <math.h>

#include "ee_avx2.h"
#include "ee_transpose_avx512.h"

#define EE_VECTOR_TARGET "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl"

typedef __m512 ee_vec;

enum { EE_LANES = 16 };

/* Rows of a tile: 18 of 32 registers are sums, which hides the latency. More rows would need fewer
 * loads, but a core has one load port a multiplier and needs no fewer; and rows lie whole powers of
 * two apart, so that more of them push each other and the panel out of the first-level cache. */
#define EE_TILE_ROWS 9

EE_TARGET_BEGIN(EE_VECTOR_TARGET)

static inline __mmask16 ee_avx512_mask(size_t lanes)
{
    return (__mmask16)((1u << lanes) - 1u);
}

static inline ee_vec ee_set(float x)
{
    return _mm512_set1_ps(x);
}

static inline ee_vec ee_load(const float *x)
{
    return _mm512_loadu_ps(x);
}

static inline ee_vec ee_load_part(const float *x, size_t lanes)
{
    return _mm512_maskz_loadu_ps(ee_avx512_mask(lanes), x);
}

static inline void ee_store(float *out, ee_vec v)
{
    _mm512_storeu_ps(out, v);
}

static inline void ee_store_part(float *out, ee_vec v, size_t lanes)
{
    _mm512_mask_storeu_ps(out, ee_avx512_mask(lanes), v);
}

static inline ee_vec ee_keep_part(ee_vec v, ee_vec rest, size_t lanes)
{
    return _mm512_mask_mov_ps(rest, ee_avx512_mask(lanes), v);
}

static inline ee_vec ee_add(ee_vec a, ee_vec b)
{
    return _mm512_add_ps(a, b);
}

static inline ee_vec ee_sub(ee_vec a, ee_vec b)
{
    return _mm512_sub_ps(a, b);
}

static inline ee_vec ee_mul(ee_vec a, ee_vec b)
{
    return _mm512_mul_ps(a, b);
}

/* A division takes 16 cycles of its unit on Intel's cores. The approximate reciprocal is good to
 * 2^-14, and a step of Newton's, a factor of about 1, corrects that to the last bits. An infinite b
 * has the reciprocal 0 and would have a factor that is NaN, of which the minimum makes a number. */
static inline ee_vec ee_div(ee_vec a, ee_vec b)
{
    const __m512 two = _mm512_set1_ps(2.0f);
    const __m512 reciprocal = _mm512_rcp14_ps(b);
    const __m512 factor = _mm512_min_ps(_mm512_fnmadd_ps(b, reciprocal, two), two);

    return _mm512_mul_ps(_mm512_mul_ps(a, reciprocal), factor);
}

static inline ee_vec ee_fma(ee_vec a, ee_vec b, ee_vec c)
{
    return _mm512_fmadd_ps(a, b, c);
}

static inline ee_vec ee_fnma(ee_vec a, ee_vec b, ee_vec c)
{
    return _mm512_fnmadd_ps(a, b, c);
}

static inline ee_vec ee_max(ee_vec a, ee_vec b)
{
    return _mm512_max_ps(a, b);
}

static inline ee_vec ee_min(ee_vec a, ee_vec b)
{
    return _mm512_min_ps(a, b);
}

static inline ee_vec ee_to_exponent(ee_vec v)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(v), 23));
}

static inline float ee_sum_lanes(ee_vec v)
{
    return ee_avx2_sum(_mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1)));
}

static inline float ee_max_lanes(ee_vec v)
{
    return ee_avx2_max(_mm256_max_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1)));
}

static inline void ee_transpose_rows(float *to, size_t to_stride, const float *const *from,
                                     size_t at)
{
    __m512i v[EE_LANES];

    EE_UNROLL
    for (size_t n = 0; n < EE_LANES; n++) {
        v[n] = _mm512_loadu_si512(from[n] + at);
    }
    ee_avx512_transpose(v);
    EE_UNROLL
    for (size_t i = 0; i < EE_LANES; i++) {
        _mm512_storeu_si512(to + i * to_stride, v[i]);
    }
}

EE_TARGET_END

#endif
