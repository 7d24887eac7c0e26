#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_AVX512

#include "../../common/ee_exact_avx512.h"
#include "ee_gelu_exact.h"

EE_TARGET_BEGIN("avx512f,avx512bw,avx512dq,avx512vl")

static inline __m512 clamped(__m512 x, float limit)
{
    return _mm512_min_ps(_mm512_max_ps(x, _mm512_set1_ps(-limit)), _mm512_set1_ps(limit));
}

static inline __m512 gelu(__m512 x)
{
    const __m512 c = clamped(x, EE_GELU_LIMIT);
    const __m512 square = _mm512_mul_ps(c, c);
    __m512 above = _mm512_set1_ps(EE_GELU_ABOVE[0]), below = _mm512_set1_ps(EE_GELU_BELOW[0]);

    EE_UNROLL
    for (size_t k = 1; k < EE_GELU_POWERS; k++) {
        above = _mm512_add_ps(_mm512_mul_ps(above, square), _mm512_set1_ps(EE_GELU_ABOVE[k]));
        below = _mm512_add_ps(_mm512_mul_ps(below, square), _mm512_set1_ps(EE_GELU_BELOW[k]));
    }
    const __m512 middle = clamped(_mm512_div_ps(_mm512_mul_ps(c, above), below), 0.5f);
    return ee_exact_flush16(_mm512_mul_ps(x, _mm512_add_ps(middle, _mm512_set1_ps(0.5f))));
}

void ee_gelu_exact_avx512(float *out, const float *x, size_t count)
{
    size_t i = 0;

    for (; count - i >= 16; i += 16) {
        _mm512_storeu_ps(out + i, gelu(_mm512_loadu_ps(x + i)));
    }
    if (i < count) {
        const __mmask16 exists = ee_exact_lanes(count - i);
        _mm512_mask_storeu_ps(out + i, exists, gelu(_mm512_maskz_loadu_ps(exists, x + i)));
    }
}

EE_TARGET_END

#endif
