#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_AVX512

#include "../../common/ee_exact_avx2.h"
#include "../../common/ee_exact_avx512.h"

enum { GROUP = 8, PART = 16 * EE_EXP_VECTORS };

EE_TARGET_BEGIN("avx512f,avx512bw,avx512dq,avx512vl")

/* What is known of a row so far: eight lanes of the sum of its exponentials, and the largest of its
 * weights, exponentials times scales of values. */
typedef struct {
    __m256 lanes;
    __m512 top;
} totals;

/* The first `left` of x become weights. They lie in `vectors` vectors, and fill them if is_whole:
 * both are constants. */
static inline __attribute__((always_inline)) void
weigh_part(float *x, const float *value_scale, size_t left, size_t vectors, int is_whole,
           float max, totals *found)
{
    __mmask16 exists[EE_EXP_VECTORS];
    __m512 e[EE_EXP_VECTORS];

    EE_UNROLL
    for (size_t v = 0; v < vectors; v++) {
        exists[v] = is_whole ? 0xFFFF : ee_exact_lanes_at(left, v);
        e[v] = _mm512_sub_ps(_mm512_maskz_loadu_ps(exists[v], x + 16 * v), _mm512_set1_ps(max));
    }
    ee_exact_exps(e, vectors);
    EE_UNROLL
    for (size_t v = 0; v < vectors; v++) {
        const __m512 scale = _mm512_maskz_loadu_ps(exists[v], value_scale + 16 * v);
        const __m512 weight = _mm512_mul_ps(e[v], scale);

        found->lanes = ee_exact_add16(found->lanes, _mm512_maskz_mov_ps(exists[v], e[v]));
        found->top = _mm512_max_ps(found->top, weight);
        _mm512_mask_storeu_ps(x + 16 * v, exists[v], weight);
    }
}

/* x becomes exp(x - max) value_scale. Returns the largest of them, and the sum of the
 * exponentials. */
static inline float weigh(float *x, const float *value_scale, size_t dim, float max, float *sum)
{
    const size_t whole = dim / PART * PART;
    const size_t left = dim - whole;
    totals found = {_mm256_setzero_ps(), _mm512_setzero_ps()};

    for (size_t d = 0; d < whole; d += PART) {
        weigh_part(x + d, value_scale + d, PART, EE_EXP_VECTORS, 1, max, &found);
    }
    if (left > 32) {
        weigh_part(x + whole, value_scale + whole, left, EE_EXP_VECTORS, 0, max, &found);
    } else if (left > 16) {
        weigh_part(x + whole, value_scale + whole, left, 2, 0, max, &found);
    } else if (left > 0) {
        weigh_part(x + whole, value_scale + whole, left, 1, 0, max, &found);
    }
    *sum = ee_exact_sum(found.lanes);
    return _mm512_reduce_max_ps(found.top);
}

/* The conversion rounds to even. */
static inline __m512i probabilities(__m512 weight, float gain)
{
    return _mm512_cvtps_epi32(_mm512_mul_ps(weight, _mm512_set1_ps(gain)));
}

/* Both digits of weight * gain. */
static inline void split(int8_t *high, int8_t *low, const float *weight, size_t dim, float gain)
{
    const __m512i low_bits = _mm512_set1_epi32(127);
    size_t d = 0;

    for (; dim - d >= 64; d += 64) {
        __m512i h[4], l[4];

        EE_UNROLL
        for (size_t i = 0; i < 4; i++) {
            const __m512i p = probabilities(_mm512_loadu_ps(weight + d + 16 * i), gain);
            h[i] = _mm512_srli_epi32(p, 7);
            l[i] = _mm512_and_si512(p, low_bits);
        }
        _mm512_storeu_si512(high + d, ee_exact_pack64(h));
        _mm512_storeu_si512(low + d, ee_exact_pack64(l));
    }
    for (; d < dim; d += 16) {
        const __m512 w = _mm512_maskz_loadu_ps(ee_exact_lanes(dim - d), weight + d);
        const __m512i p = probabilities(w, gain);

        _mm_store_si128((__m128i *)(void *)(high + d),
                        _mm512_cvtepi32_epi8(_mm512_srli_epi32(p, 7)));
        _mm_store_si128((__m128i *)(void *)(low + d),
                        _mm512_cvtepi32_epi8(_mm512_and_si512(p, low_bits)));
    }
}

/* A row's maximum, its exponentials and their sum, and the digits wait for each other; so each is
 * done for a few rows before the next. */
void ee_softmax_qs8_avx512(int8_t *high, int8_t *low, float *scale, float *x,
                           const float *value_scale, size_t rows, size_t dim, size_t q_stride)
{
    float max[GROUP], top[GROUP], sum[GROUP];

    for (size_t t = 0; t < rows; t += GROUP) {
        const size_t count = ee_size_min(rows - t, GROUP);

        for (size_t i = 0; i < count; i++) {
            max[i] = ee_exact_max16(x + (t + i) * dim, dim);
        }
        for (size_t i = 0; i < count; i++) {
            top[i] = weigh(x + (t + i) * dim, value_scale, dim, max[i], &sum[i]);
        }
        for (size_t i = 0; i < count; i++) {
            split(high + (t + i) * q_stride, low + (t + i) * q_stride, x + (t + i) * dim, dim,
                  ee_probability_gain(top[i]));
            scale[t + i] = ee_probability_scale(top[i], sum[i]);
        }
    }
}

EE_TARGET_END

#endif
