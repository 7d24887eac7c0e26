#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_AVX512

#include "../../ee_exact_avx512.h"

EE_TARGET_BEGIN("avx512f,avx512bw,avx512dq,avx512vl")

/* MAX of a row, count at least 1. */
static inline float largest(const float *x, size_t count)
{
    __m512 max = _mm512_set1_ps(x[0]);

    for (size_t i = 0; i < count; i += 16) {
        const __mmask16 exists = ee_exact_lanes(count - i);
        max = _mm512_mask_max_ps(max, exists, max, _mm512_maskz_loadu_ps(exists, x + i));
    }
    return _mm512_reduce_max_ps(max) + 0.0f;
}

void ee_softmax_qs8_avx512(int8_t *high, int8_t *low, float *inverse, const float *x,
                           size_t rows, size_t dim, size_t q_stride)
{
    const __m512 top = _mm512_set1_ps(EE_TOP_PROBABILITY);
    const __m512i low_bits = _mm512_set1_epi32(127);

    for (size_t t = 0; t < rows; t++) {
        const float *const row = x + t * dim;
        const __m512 max = _mm512_set1_ps(largest(row, dim));
        __m512i sum = _mm512_setzero_si512();

        for (size_t d = 0; d < dim; d += 16) {
            const __mmask16 exists = ee_exact_lanes(dim - d);
            const __m512 v = _mm512_maskz_loadu_ps(exists, row + d);
            const __m512 e = ee_exact_exp16(_mm512_sub_ps(v, max));
            /* The conversion rounds to even; lanes without a value are 0. */
            const __m512i p = _mm512_maskz_cvtps_epi32(exists, _mm512_mul_ps(e, top));

            _mm_store_si128((__m128i *)(void *)(high + t * q_stride + d),
                            _mm512_cvtepi32_epi8(_mm512_srli_epi32(p, 7)));
            _mm_store_si128((__m128i *)(void *)(low + t * q_stride + d),
                            _mm512_cvtepi32_epi8(_mm512_and_si512(p, low_bits)));
            sum = _mm512_add_epi32(sum, p);
        }
        inverse[t] = 1.0f / (float)_mm512_reduce_add_epi32(sum);
    }
}

EE_TARGET_END

#endif
