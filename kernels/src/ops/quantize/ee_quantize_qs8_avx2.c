#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_AVX2

#include <string.h>

#include "../../common/ee_exact_avx2.h"

EE_TARGET_BEGIN("avx2")

void ee_quantize_qs8_avx2(int8_t *q, float *scale, const float *x, size_t rows, size_t in,
                          size_t q_stride, size_t x_stride)
{
    for (size_t t = 0; t < rows; t++) {
        const float *row = x + t * x_stride;
        int8_t *const to = q + t * q_stride;
        const float max = ee_exact_largest_magnitude(row, in);

        if (max < EE_SMALLEST_MAX) {
            scale[t] = 0.0f;
            memset(to, 0, ee_row_stride_qs8(in));
            continue;
        }
        scale[t] = max / 127.0f;

        /* The conversion rounds to even; lanes without a value are 0. */
        const __m256 inverse = _mm256_set1_ps(127.0f / max);
        for (size_t i = 0; i < in; i += 16) {
            const __m256 a = ee_exact_load(row + i, in - i);
            const __m256 b = in - i > 8 ? ee_exact_load(row + i + 8, in - i - 8)
                                        : _mm256_setzero_ps();
            const __m128i packed = ee_exact_pack(_mm256_cvtps_epi32(_mm256_mul_ps(a, inverse)),
                                                 _mm256_cvtps_epi32(_mm256_mul_ps(b, inverse)));
            _mm_store_si128((__m128i *)(void *)(to + i), packed);
        }
    }
}

EE_TARGET_END

#endif
