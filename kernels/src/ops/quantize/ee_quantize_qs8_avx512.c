#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_AVX512

#include <string.h>

#include "../../common/ee_exact_avx512.h"

EE_TARGET_BEGIN("avx512f,avx512bw,avx512dq,avx512vl")

static inline float largest_magnitude(const float *x, size_t count)
{
    const __m512i magnitude = _mm512_set1_epi32(0x7FFFFFFF);
    __m512 max = _mm512_setzero_ps();

    for (size_t i = 0; i < count; i += 16) {
        const __m512 v = _mm512_maskz_loadu_ps(ee_exact_lanes(count - i), x + i);
        const __m512i bits = _mm512_and_si512(_mm512_castps_si512(v), magnitude);
        max = _mm512_max_ps(max, _mm512_castsi512_ps(bits));
    }
    return _mm512_reduce_max_ps(max);
}

void ee_quantize_qs8_avx512(int8_t *q, float *scale, const float *x, size_t rows, size_t in,
                            size_t q_stride, size_t x_stride)
{
    for (size_t t = 0; t < rows; t++) {
        const float *const row = x + t * x_stride;
        int8_t *const to = q + t * q_stride;
        const float max = largest_magnitude(row, in);

        if (max < EE_SMALLEST_MAX) {
            scale[t] = 0.0f;
            memset(to, 0, ee_row_stride_qs8(in));
            continue;
        }
        scale[t] = max / 127.0f;

        /* The conversion rounds to even; lanes without a value are 0. */
        const __m512 inverse = _mm512_set1_ps(127.0f / max);
        for (size_t i = 0; i < in; i += 16) {
            const __m512 v = _mm512_maskz_loadu_ps(ee_exact_lanes(in - i), row + i);
            const __m512i rounded = _mm512_cvtps_epi32(_mm512_mul_ps(v, inverse));
            _mm_store_si128((__m128i *)(void *)(to + i), _mm512_cvtepi32_epi8(rounded));
        }
    }
}

EE_TARGET_END

#endif
