#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_AVX512

#include "../../common/ee_exact_avx512.h"

EE_TARGET_BEGIN("avx512f,avx512bw,avx512dq,avx512vl")

void ee_glu_exact_avx512(float *out, const float *x, size_t rows, size_t dim)
{
    for (size_t t = 0; t < rows; t++) {
        const float *const value = x + t * 2 * dim;
        const float *const gate = value + dim;
        float *const to = out + t * dim;
        size_t d = 0;

        for (; dim - d >= 16 * EE_EXP_VECTORS; d += 16 * EE_EXP_VECTORS) {
            __m512 y[EE_EXP_VECTORS], g[EE_EXP_VECTORS];

            EE_UNROLL
            for (size_t v = 0; v < EE_EXP_VECTORS; v++) {
                y[v] = _mm512_loadu_ps(value + d + 16 * v);
                g[v] = _mm512_loadu_ps(gate + d + 16 * v);
            }
            ee_exact_gates(y, g, EE_EXP_VECTORS);
            EE_UNROLL
            for (size_t v = 0; v < EE_EXP_VECTORS; v++) {
                _mm512_storeu_ps(to + d + 16 * v, ee_exact_flush16(y[v]));
            }
        }
        for (; d < dim; d += 16) {
            const __mmask16 exists = ee_exact_lanes(dim - d);
            const __m512 y = ee_exact_gate16(_mm512_maskz_loadu_ps(exists, value + d),
                                             _mm512_maskz_loadu_ps(exists, gate + d));
            _mm512_mask_storeu_ps(to + d, exists, ee_exact_flush16(y));
        }
    }
}

EE_TARGET_END

#endif
