#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_AVX512

#include <string.h>

#include "../../common/ee_exact_avx512.h"

EE_TARGET_BEGIN("avx512f,avx512bw,avx512dq,avx512vl")

/* Both digits of 16 values. The conversion rounds to even. */
static inline void split(__m512i *high, __m512i *low, __m512 v, __m512 inverse)
{
    const __m512i p = _mm512_cvtps_epi32(_mm512_mul_ps(v, inverse));

    *high = _mm512_srai_epi32(_mm512_add_epi32(p, _mm512_set1_epi32(64)), 7);
    *low = _mm512_sub_epi32(p, _mm512_slli_epi32(*high, 7));
}

void ee_quantize_digits_qs8_avx512(int8_t *high, int8_t *low, float *scale, const float *x,
                                   size_t rows, size_t in, size_t q_stride, size_t x_stride)
{
    for (size_t t = 0; t < rows; t++, high += q_stride, low += q_stride) {
        const float *const row = x + t * x_stride;
        const float max = ee_exact_largest_magnitude16(row, in);

        if (max < EE_SMALLEST_MAX) {
            scale[t] = 0.0f;
            memset(high, 0, ee_row_stride_qs8(in));
            memset(low, 0, ee_row_stride_qs8(in));
            continue;
        }
        scale[t] = max / EE_TOP_DIGITS;

        const __m512 inverse = _mm512_set1_ps(EE_TOP_DIGITS / max);
        size_t i = 0;

        for (; in - i >= 64; i += 64) {
            __m512i h[4], l[4];

            EE_UNROLL
            for (size_t v = 0; v < 4; v++) {
                split(&h[v], &l[v], _mm512_loadu_ps(row + i + 16 * v), inverse);
            }
            _mm512_storeu_si512(high + i, ee_exact_pack64(h));
            _mm512_storeu_si512(low + i, ee_exact_pack64(l));
        }
        for (; i < in; i += 16) { /* lanes without a value are 0 */
            __m512i h, l;

            split(&h, &l, _mm512_maskz_loadu_ps(ee_exact_lanes(in - i), row + i), inverse);
            _mm_store_si128((__m128i *)(void *)(high + i), _mm512_cvtepi32_epi8(h));
            _mm_store_si128((__m128i *)(void *)(low + i), _mm512_cvtepi32_epi8(l));
        }
    }
}

EE_TARGET_END

#endif
