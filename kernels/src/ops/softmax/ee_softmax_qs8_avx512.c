#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_AVX512

#include "../../common/ee_exact_avx2.h"
#include "../../common/ee_exact_avx512.h"

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

/* x becomes exp(x - MAX(x)) value_scale. Returns the largest of them, and the sum of the
 * exponentials, which has eight lanes. */
static inline float weigh(float *x, const float *value_scale, size_t dim, float *sum)
{
    const __m512 max = _mm512_set1_ps(largest(x, dim));
    __m512 top = _mm512_setzero_ps();
    __m256 lanes = _mm256_setzero_ps();

    for (size_t d = 0; d < dim; d += 16) {
        const __mmask16 exists = ee_exact_lanes(dim - d);
        const __m512 below = _mm512_sub_ps(_mm512_maskz_loadu_ps(exists, x + d), max);
        const __m512 e = _mm512_maskz_mov_ps(exists, ee_exact_exp16(below));
        const __m512 weight = _mm512_mul_ps(e, _mm512_maskz_loadu_ps(exists, value_scale + d));

        lanes = _mm256_add_ps(lanes, _mm512_castps512_ps256(e));
        lanes = _mm256_add_ps(lanes, _mm512_extractf32x8_ps(e, 1));
        top = _mm512_max_ps(top, weight);
        _mm512_mask_storeu_ps(x + d, exists, weight);
    }
    *sum = ee_exact_sum(lanes);
    return _mm512_reduce_max_ps(top);
}

void ee_softmax_qs8_avx512(int8_t *high, int8_t *low, float *scale, float *x,
                           const float *value_scale, size_t rows, size_t dim, size_t q_stride)
{
    const __m512i low_bits = _mm512_set1_epi32(127);

    for (size_t t = 0; t < rows; t++) {
        float *const row = x + t * dim;
        float sum;
        const float top = weigh(row, value_scale, dim, &sum);
        const __m512 gain = _mm512_set1_ps(ee_probability_gain(top));

        for (size_t d = 0; d < dim; d += 16) {
            const __m512 weight = _mm512_maskz_loadu_ps(ee_exact_lanes(dim - d), row + d);
            const __m512i p = _mm512_cvtps_epi32(_mm512_mul_ps(weight, gain)); /* rounds to even */

            _mm_store_si128((__m128i *)(void *)(high + t * q_stride + d),
                            _mm512_cvtepi32_epi8(_mm512_srli_epi32(p, 7)));
            _mm_store_si128((__m128i *)(void *)(low + t * q_stride + d),
                            _mm512_cvtepi32_epi8(_mm512_and_si512(p, low_bits)));
        }
        scale[t] = ee_probability_scale(top, sum);
    }
}

EE_TARGET_END

#endif
