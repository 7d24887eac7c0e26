#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_AVX2

#include "../../ee_exact_avx2.h"

EE_TARGET_BEGIN("avx2")

/* p of up to 8 of `count` values; 0 where there are fewer. The conversion rounds to even. */
static inline __m256i probabilities(const float *x, size_t count, __m256 max)
{
    const __m256 e = ee_exact_exp(_mm256_sub_ps(ee_exact_load(x, count), max));
    const __m256 scaled = _mm256_mul_ps(e, _mm256_set1_ps(EE_TOP_PROBABILITY));

    return _mm256_cvtps_epi32(ee_exact_keep(scaled, count));
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
    const __m256i low_bits = _mm256_set1_epi32(127);

    for (size_t t = 0; t < rows; t++) {
        const float *row = x + t * dim;
        const __m256 max = _mm256_set1_ps(ee_exact_max(row, dim));
        __m256i sum = _mm256_setzero_si256();

        for (size_t d = 0; d < dim; d += 16) {
            const __m256i a = probabilities(row + d, dim - d, max);
            const __m256i b = dim - d > 8 ? probabilities(row + d + 8, dim - d - 8, max)
                                          : _mm256_setzero_si256();
            const __m128i highs = ee_exact_pack(_mm256_srli_epi32(a, 7), _mm256_srli_epi32(b, 7));
            const __m128i lows = ee_exact_pack(_mm256_and_si256(a, low_bits),
                                               _mm256_and_si256(b, low_bits));

            _mm_store_si128((__m128i *)(void *)(high + t * q_stride + d), highs);
            _mm_store_si128((__m128i *)(void *)(low + t * q_stride + d), lows);
            sum = _mm256_add_epi32(sum, _mm256_add_epi32(a, b));
        }
        inverse[t] = 1.0f / (float)sum_lanes(sum);
    }
}

EE_TARGET_END

#endif
