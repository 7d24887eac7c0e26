#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_AVX2

#include "../../common/ee_exact_avx2.h"

EE_TARGET_BEGIN("avx2")

/* A row: its maximum, the exponentials added in lanes, the largest weight in lanes. */
typedef struct {
    __m256 max, sum, top;
} weighing;

/* Up to 8 of `count` values become exp(x - max) value_scale. */
static inline __attribute__((always_inline)) void
weigh(weighing *w, float *x, const float *value_scale, size_t count)
{
    __m256 e = ee_exact_exp(_mm256_sub_ps(ee_exact_load(x, count), w->max));

    if (count < 8) {
        e = ee_exact_keep(e, count);
    }
    const __m256 weight = _mm256_mul_ps(e, ee_exact_load(value_scale, count));
    w->sum = _mm256_add_ps(w->sum, e);
    w->top = _mm256_max_ps(w->top, weight);
    ee_exact_store(x, weight, count);
}

/* Both digits of up to 16 of `count` weights, zeros behind them. The conversion rounds to even. */
static inline __attribute__((always_inline)) void
store_digits(int8_t *high, int8_t *low, const float *x, size_t count, __m256 gain)
{
    const __m256i low_bits = _mm256_set1_epi32(127);
    const __m256i a = _mm256_cvtps_epi32(_mm256_mul_ps(ee_exact_load(x, count), gain));
    const __m256i b = count > 8
        ? _mm256_cvtps_epi32(_mm256_mul_ps(ee_exact_load(x + 8, count - 8), gain))
        : _mm256_setzero_si256();

    _mm_store_si128((__m128i *)(void *)high,
                    ee_exact_pack(_mm256_srli_epi32(a, 7), _mm256_srli_epi32(b, 7)));
    _mm_store_si128((__m128i *)(void *)low, ee_exact_pack(_mm256_and_si256(a, low_bits),
                                                          _mm256_and_si256(b, low_bits)));
}

void ee_softmax_qs8_avx2(int8_t *high, int8_t *low, float *scale, float *x,
                         const float *value_scale, size_t rows, size_t dim, size_t q_stride)
{
    for (size_t t = 0; t < rows; t++) {
        float *const row = x + t * dim;
        int8_t *const high_row = high + t * q_stride, *const low_row = low + t * q_stride;
        weighing w = {_mm256_set1_ps(ee_exact_max(row, dim)), _mm256_setzero_ps(),
                      _mm256_setzero_ps()};

        size_t d = 0;
        for (; dim - d >= 8; d += 8) {
            weigh(&w, row + d, value_scale + d, 8);
        }
        if (d < dim) {
            weigh(&w, row + d, value_scale + d, dim - d);
        }
        const float top = ee_exact_largest(w.top);
        const __m256 gain = _mm256_set1_ps(ee_probability_gain(top));
        for (d = 0; dim - d >= 16; d += 16) {
            store_digits(high_row + d, low_row + d, row + d, 16, gain);
        }
        if (d < dim) {
            store_digits(high_row + d, low_row + d, row + d, dim - d, gain);
        }
        scale[t] = ee_probability_scale(top, ee_exact_sum(w.sum));
    }
}

EE_TARGET_END

#endif
