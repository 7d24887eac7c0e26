#include "ee_kernels.h"

#ifdef EE_HAVE_AVX2

#include "../../ee_avx2.h"

EE_TARGET_BEGIN("avx2,fma")

void ee_silu_f32_avx2(float *out, const float *x, size_t count)
{
    size_t i = 0;

    for (; i + 8 <= count; i += 8) {
        const __m256 v = _mm256_loadu_ps(x + i);
        _mm256_storeu_ps(out + i, ee_avx2_gate(v, v));
    }
    if (i < count) {
        const __m256i mask = ee_avx2_mask(count - i);
        const __m256 v = _mm256_maskload_ps(x + i, mask);
        _mm256_maskstore_ps(out + i, mask, ee_avx2_gate(v, v));
    }
}

EE_TARGET_END

#endif
