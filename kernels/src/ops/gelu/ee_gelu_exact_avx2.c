#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_AVX2

#include "../../common/ee_exact_avx2.h"
#include "ee_gelu_exact.h"

EE_TARGET_BEGIN("avx2")

static inline __m256 clamped(__m256 x, float limit)
{
    return _mm256_min_ps(_mm256_max_ps(x, _mm256_set1_ps(-limit)), _mm256_set1_ps(limit));
}

static inline __m256 gelu(__m256 x)
{
    const __m256 c = clamped(x, EE_GELU_LIMIT);
    const __m256 square = _mm256_mul_ps(c, c);
    __m256 above = _mm256_set1_ps(EE_GELU_ABOVE[0]), below = _mm256_set1_ps(EE_GELU_BELOW[0]);

    EE_UNROLL
    for (size_t k = 1; k < EE_GELU_POWERS; k++) {
        above = _mm256_add_ps(_mm256_mul_ps(above, square), _mm256_set1_ps(EE_GELU_ABOVE[k]));
        below = _mm256_add_ps(_mm256_mul_ps(below, square), _mm256_set1_ps(EE_GELU_BELOW[k]));
    }
    const __m256 middle = clamped(_mm256_div_ps(_mm256_mul_ps(c, above), below), 0.5f);
    return ee_exact_flush(_mm256_mul_ps(x, _mm256_add_ps(middle, _mm256_set1_ps(0.5f))));
}

void ee_gelu_exact_avx2(float *out, const float *x, size_t count)
{
    for (size_t i = 0; i < count; i += 8) {
        ee_exact_store(out + i, gelu(ee_exact_load(x + i, count - i)), count - i);
    }
}

EE_TARGET_END

#endif
