/* ee_vector_avx2.h: the vectors of the float32 kernels, with AVX2 and FMA. ee_vector_avx512.h gives
 * the same names with AVX-512, so that the two sets share the text of a kernel: a header
 * ee_<op>_f32_vector.h in the folder of the op, included by a file an instruction set.
 * Loads and stores are unaligned. ..._part touches the first `lanes` only, 0 to EE_LANES, so that no
 * byte outside an array is read or written. */
#ifndef EE_VECTOR_AVX2_H
#define EE_VECTOR_AVX2_H

#include "ee_avx2.h"

#define EE_VECTOR_TARGET "avx2,fma"

typedef __m256 ee_vec;

enum { EE_LANES = 8 };

/* Rows of a tile of the matrix product, two vectors wide: 12 of 16 registers are sums, which hides
 * a latency of 4 cycles at two multiply-adds a cycle. */
#define EE_TILE_ROWS 6

EE_TARGET_BEGIN(EE_VECTOR_TARGET)

static inline ee_vec ee_set(float x)
{
    return _mm256_set1_ps(x);
}

static inline ee_vec ee_load(const float *x)
{
    return _mm256_loadu_ps(x);
}

/* 0 in the other lanes. */
static inline ee_vec ee_load_part(const float *x, size_t lanes)
{
    return _mm256_maskload_ps(x, ee_avx2_mask(lanes));
}

static inline void ee_store(float *out, ee_vec v)
{
    _mm256_storeu_ps(out, v);
}

static inline void ee_store_part(float *out, ee_vec v, size_t lanes)
{
    _mm256_maskstore_ps(out, ee_avx2_mask(lanes), v);
}

/* v in the first lanes, `rest` in the others. */
static inline ee_vec ee_keep_part(ee_vec v, ee_vec rest, size_t lanes)
{
    return _mm256_blendv_ps(rest, v, _mm256_castsi256_ps(ee_avx2_mask(lanes)));
}

static inline ee_vec ee_add(ee_vec a, ee_vec b)
{
    return _mm256_add_ps(a, b);
}

static inline ee_vec ee_sub(ee_vec a, ee_vec b)
{
    return _mm256_sub_ps(a, b);
}

static inline ee_vec ee_mul(ee_vec a, ee_vec b)
{
    return _mm256_mul_ps(a, b);
}

/* a / b for b >= 1, infinity too. */
static inline ee_vec ee_div(ee_vec a, ee_vec b)
{
    return _mm256_div_ps(a, b);
}

/* a * b + c */
static inline ee_vec ee_fma(ee_vec a, ee_vec b, ee_vec c)
{
    return _mm256_fmadd_ps(a, b, c);
}

/* c - a * b */
static inline ee_vec ee_fnma(ee_vec a, ee_vec b, ee_vec c)
{
    return _mm256_fnmadd_ps(a, b, c);
}

/* NaN in b goes through, in a it does not. */
static inline ee_vec ee_max(ee_vec a, ee_vec b)
{
    return _mm256_max_ps(a, b);
}

static inline ee_vec ee_min(ee_vec a, ee_vec b)
{
    return _mm256_min_ps(a, b);
}

/* The bits of each lane shifted up by 23: the low 8 bits become the exponent of a float. */
static inline ee_vec ee_to_exponent(ee_vec v)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(v), 23));
}

static inline float ee_sum_lanes(ee_vec v)
{
    return ee_avx2_sum(v);
}

static inline float ee_max_lanes(ee_vec v)
{
    return ee_avx2_max(v);
}

/* EE_LANES rows by as many columns: to[i * to_stride + n] = from[n][at + i]. The halves of the rows
 * are joined as they are loaded, which leaves two rounds of shuffles of the three of a
 * transposition. */
static inline void ee_transpose_rows(float *to, size_t to_stride, const float *const *from,
                                     size_t at)
{
    __m256 joined[8], pairs[8];

    for (size_t n = 0; n < 4; n++) {
        for (size_t half = 0; half < 2; half++) {
            joined[half * 4 + n] = _mm256_insertf128_ps(
                _mm256_castps128_ps256(_mm_loadu_ps(from[n] + at + 4 * half)),
                _mm_loadu_ps(from[n + 4] + at + 4 * half), 1);
        }
    }
    for (size_t half = 0; half < 8; half += 4) {
        pairs[half] = _mm256_unpacklo_ps(joined[half], joined[half + 1]);
        pairs[half + 1] = _mm256_unpackhi_ps(joined[half], joined[half + 1]);
        pairs[half + 2] = _mm256_unpacklo_ps(joined[half + 2], joined[half + 3]);
        pairs[half + 3] = _mm256_unpackhi_ps(joined[half + 2], joined[half + 3]);
        for (size_t i = 0; i < 2; i++) {
            float *const row = to + (half + 2 * i) * to_stride;
            _mm256_storeu_ps(row, _mm256_shuffle_ps(pairs[half + i], pairs[half + i + 2],
                                                    _MM_SHUFFLE(1, 0, 1, 0)));
            _mm256_storeu_ps(row + to_stride, _mm256_shuffle_ps(pairs[half + i],
                                                                pairs[half + i + 2],
                                                                _MM_SHUFFLE(3, 2, 3, 2)));
        }
    }
}

EE_TARGET_END

#endif
