#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_AVX2

#include "../../ee_exact_avx2.h"

EE_TARGET_BEGIN("avx2")

void ee_silu_qs8_avx2(float *out, const float *x, size_t count)
{
    for (size_t i = 0; i < count; i += 8) {
        const __m256 v = ee_exact_load(x + i, count - i);
        ee_exact_store(out + i, ee_exact_gate(v, v), count - i);
    }
}

EE_TARGET_END

#endif
