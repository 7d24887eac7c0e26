#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_AVX512

#include <string.h>

#include "../../common/ee_exact_avx512.h"

EE_TARGET_BEGIN("avx512f,avx512bw,avx512dq,avx512vl")

/* The conversion rounds to even. */
static inline __m512i quantized(__m512 v, __m512 inverse)
{
    return _mm512_cvtps_epi32(_mm512_mul_ps(v, inverse));
}

void ee_quantize_qs8_avx512(int8_t *q, float *scale, const float *x, size_t rows, size_t in,
                            size_t q_stride, size_t x_stride)
{
    for (size_t t = 0; t < rows; t++) {
        const float *const row = x + t * x_stride;
        int8_t *const to = q + t * q_stride;
        const float max = ee_exact_largest_magnitude16(row, in);

        if (max < EE_SMALLEST_MAX) {
            scale[t] = 0.0f;
            memset(to, 0, ee_row_stride_qs8(in));
            continue;
        }
        scale[t] = max / 127.0f;

        const __m512 inverse = _mm512_set1_ps(127.0f / max);
        size_t i = 0;

        for (; in - i >= 64; i += 64) {
            const __m512i v[4] = {
                quantized(_mm512_loadu_ps(row + i), inverse),
                quantized(_mm512_loadu_ps(row + i + 16), inverse),
                quantized(_mm512_loadu_ps(row + i + 32), inverse),
                quantized(_mm512_loadu_ps(row + i + 48), inverse),
            };
            _mm512_storeu_si512(to + i, ee_exact_pack64(v));
        }
        for (; i < in; i += 16) { /* lanes without a value are 0 */
            const __m512 v = _mm512_maskz_loadu_ps(ee_exact_lanes(in - i), row + i);
            _mm_store_si128((__m128i *)(void *)(to + i),
                            _mm512_cvtepi32_epi8(quantized(v, inverse)));
        }
    }
}

EE_TARGET_END

#endif
