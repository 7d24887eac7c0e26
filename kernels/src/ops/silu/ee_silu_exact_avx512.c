#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_AVX512

#include "../../common/ee_exact_avx512.h"

EE_TARGET_BEGIN("avx512f,avx512bw,avx512dq,avx512vl")

void ee_silu_exact_avx512(float *out, const float *x, size_t count)
{
    size_t i = 0;

    for (; count - i >= 16 * EE_EXP_VECTORS; i += 16 * EE_EXP_VECTORS) {
        __m512 value[EE_EXP_VECTORS], gate[EE_EXP_VECTORS];

        EE_UNROLL
        for (size_t v = 0; v < EE_EXP_VECTORS; v++) {
            value[v] = gate[v] = _mm512_loadu_ps(x + i + 16 * v);
        }
        ee_exact_gates(value, gate, EE_EXP_VECTORS);
        EE_UNROLL
        for (size_t v = 0; v < EE_EXP_VECTORS; v++) {
            _mm512_storeu_ps(out + i + 16 * v, value[v]);
        }
    }
    for (; i < count; i += 16) {
        const __mmask16 exists = ee_exact_lanes(count - i);
        const __m512 v = _mm512_maskz_loadu_ps(exists, x + i);
        _mm512_mask_storeu_ps(out + i, exists, ee_exact_gate16(v, v));
    }
}

EE_TARGET_END

#endif
