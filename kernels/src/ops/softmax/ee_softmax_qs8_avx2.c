#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_AVX2

#include "../../ee_exact_avx2.h"

EE_TARGET_BEGIN("avx2")

/* p of up to 8 of `count` values; 0 where there are fewer. The conversion rounds to even. */
static inline __attribute__((always_inline)) __m256i
probabilities(const float *x, size_t count, __m256 max)
{
    const __m256 e = ee_exact_exp(_mm256_sub_ps(ee_exact_load(x, count), max));
    const __m256 scaled = _mm256_mul_ps(e, _mm256_set1_ps(EE_TOP_PROBABILITY));

    return _mm256_cvtps_epi32(count >= 8 ? scaled : ee_exact_keep(scaled, count));
}

/* Both digits of up to 16 of `count` values, zeros behind them; the sum of p in lanes. */
static inline __attribute__((always_inline)) __m256i
store_digits(int8_t *high, int8_t *low, const float *x, size_t count, __m256 max)
{
    const __m256i low_bits = _mm256_set1_epi32(127);
    const __m256i a = probabilities(x, count, max);
    const __m256i b = count > 8 ? probabilities(x + 8, count - 8, max) : _mm256_setzero_si256();

    _mm_store_si128((__m128i *)(void *)high,
                    ee_exact_pack(_mm256_srli_epi32(a, 7), _mm256_srli_epi32(b, 7)));
    _mm_store_si128((__m128i *)(void *)low, ee_exact_pack(_mm256_and_si256(a, low_bits),
                                                          _mm256_and_si256(b, low_bits)));
    return _mm256_add_epi32(a, b);
}

static inline int32_t sum_lanes(__m256i lanes)
{
    __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(lanes), _mm256_extracti128_si256(lanes, 1));

    sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, _MM_SHUFFLE(1, 0, 3, 2)));
    return _mm_cvtsi128_si32(_mm_add_epi32(sum, _mm_shuffle_epi32(sum, _MM_SHUFFLE(2, 3, 0, 1))));
}

void ee_softmax_qs8_avx2(int8_t *high, int8_t *low, float *inverse, const float *x,
                         size_t rows, size_t dim, size_t q_stride)
{
    for (size_t t = 0; t < rows; t++) {
        const float *const row = x + t * dim;
        int8_t *const high_row = high + t * q_stride, *const low_row = low + t * q_stride;
        const __m256 max = _mm256_set1_ps(ee_exact_max(row, dim));
        __m256i sum = _mm256_setzero_si256();

        size_t d = 0;
        for (; dim - d >= 32; d += 32) {
            /* Both halves are independent, which hides the latency of their steps. */
            sum = _mm256_add_epi32(sum, store_digits(high_row + d, low_row + d, row + d, 32, max));
            sum = _mm256_add_epi32(sum, store_digits(high_row + d + 16, low_row + d + 16,
                                                     row + d + 16, 16, max));
        }
        for (; d < dim; d += 16) {
            sum = _mm256_add_epi32(sum, store_digits(high_row + d, low_row + d, row + d, dim - d,
                                                     max));
        }
        inverse[t] = 1.0f / (float)sum_lanes(sum);
    }
}

EE_TARGET_END

#endif
