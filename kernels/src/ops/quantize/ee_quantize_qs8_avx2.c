#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_AVX2

#include <string.h>

#include "../../common/ee_exact_avx2.h"

EE_TARGET_BEGIN("avx2")

static inline float largest_magnitude(const float *x, size_t count)
{
    const __m256 sign = _mm256_set1_ps(-0.0f);
    __m256 max = _mm256_setzero_ps();

    for (size_t i = 0; i < count; i += 8) {
        max = _mm256_max_ps(max, _mm256_andnot_ps(sign, ee_exact_load(x + i, count - i)));
    }
    __m128 half = _mm_max_ps(_mm256_castps256_ps128(max), _mm256_extractf128_ps(max, 1));
    half = _mm_max_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_max_ss(half, _mm_shuffle_ps(half, half, 1)));
}

void ee_quantize_qs8_avx2(int8_t *q, float *scale, const float *x, size_t rows, size_t in,
                          size_t q_stride, size_t x_stride)
{
    for (size_t t = 0; t < rows; t++) {
        const float *row = x + t * x_stride;
        int8_t *const to = q + t * q_stride;
        const float max = largest_magnitude(row, in);

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
