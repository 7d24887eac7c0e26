#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_AVX2

#include "../../common/ee_exact_avx2.h"

EE_TARGET_BEGIN("avx2")

void ee_silu_exact_avx2(float *out, const float *x, size_t count)
{
    size_t i = 0;

    /* Four at a time: the steps of one wait for each other, those of four do not. */
    for (; count - i >= 32; i += 32) {
        for (size_t j = i; j < i + 32; j += 8) {
            const __m256 v = _mm256_loadu_ps(x + j);
            _mm256_storeu_ps(out + j, ee_exact_gate(v, v));
        }
    }
    for (; i < count; i += 8) {
        const __m256 v = ee_exact_load(x + i, count - i);
        ee_exact_store(out + i, ee_exact_gate(v, v), count - i);
    }
}

EE_TARGET_END

#endif
