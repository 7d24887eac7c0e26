#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_AVX512

#include "../../common/ee_exact_avx512.h"

EE_TARGET_BEGIN("avx512f,avx512bw,avx512dq,avx512vl")

void ee_silu_exact_avx512(float *out, const float *x, size_t count)
{
    for (size_t i = 0; i < count; i += 16) {
        const __mmask16 exists = ee_exact_lanes(count - i);
        const __m512 v = _mm512_maskz_loadu_ps(exists, x + i);
        _mm512_mask_storeu_ps(out + i, exists, ee_exact_gate16(v, v));
    }
}

EE_TARGET_END

#endif
