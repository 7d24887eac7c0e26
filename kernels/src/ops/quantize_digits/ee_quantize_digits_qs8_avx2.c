#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_AVX2

#include <string.h>

#include "../../common/ee_exact_avx2.h"

EE_TARGET_BEGIN("avx2")

/* Both digits of up to 16 of `count` values, zeros behind them. The conversion rounds to even. */
static inline __attribute__((always_inline)) void
store_digits(int8_t *high, int8_t *low, const float *x, size_t count, __m256 inverse)
{
    const __m256i a = _mm256_cvtps_epi32(_mm256_mul_ps(ee_exact_load(x, count), inverse));
    const __m256i b = count > 8
        ? _mm256_cvtps_epi32(_mm256_mul_ps(ee_exact_load(x + 8, count - 8), inverse))
        : _mm256_setzero_si256();
    const __m256i half = _mm256_set1_epi32(64);
    const __m256i high_a = _mm256_srai_epi32(_mm256_add_epi32(a, half), 7);
    const __m256i high_b = _mm256_srai_epi32(_mm256_add_epi32(b, half), 7);

    _mm_store_si128((__m128i *)(void *)high, ee_exact_pack(high_a, high_b));
    _mm_store_si128((__m128i *)(void *)low,
                    ee_exact_pack(_mm256_sub_epi32(a, _mm256_slli_epi32(high_a, 7)),
                                  _mm256_sub_epi32(b, _mm256_slli_epi32(high_b, 7))));
}

void ee_quantize_digits_qs8_avx2(int8_t *high, int8_t *low, float *scale, const float *x,
                                 size_t rows, size_t in, size_t q_stride, size_t x_stride)
{
    for (size_t t = 0; t < rows; t++, high += q_stride, low += q_stride) {
        const float *const row = x + t * x_stride;
        const float max = ee_exact_largest_magnitude(row, in);
        size_t i = 0;

        if (max < EE_SMALLEST_MAX) {
            scale[t] = 0.0f;
            memset(high, 0, ee_row_stride_qs8(in));
            memset(low, 0, ee_row_stride_qs8(in));
            continue;
        }
        scale[t] = max / EE_TOP_DIGITS;

        const __m256 inverse = _mm256_set1_ps(EE_TOP_DIGITS / max);
        for (; in - i >= 16; i += 16) {
            store_digits(high + i, low + i, row + i, 16, inverse);
        }
        if (i < in) {
            store_digits(high + i, low + i, row + i, in - i, inverse);
        }
    }
}

EE_TARGET_END

#endif
