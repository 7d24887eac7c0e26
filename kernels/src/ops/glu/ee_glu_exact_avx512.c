#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_AVX512

#include "../../common/ee_exact.h"
#include "../../common/ee_exact_avx512.h"

EE_TARGET_BEGIN("avx512f,avx512bw,avx512dq,avx512vl")

void ee_glu_exact_avx512(float *out, const float *x, size_t rows, size_t dim)
{
    for (size_t t = 0; t < rows; t++) {
        const float *const value = x + t * 2 * dim;
        const float *const gate = value + dim;

        for (size_t d = 0; d < dim; d += 16) {
            const __mmask16 exists = ee_exact_lanes(dim - d);
            const __m512 v = _mm512_maskz_loadu_ps(exists, value + d);
            const __m512 g = _mm512_maskz_loadu_ps(exists, gate + d);
            const __m512 y = ee_exact_gate16(v, g);
            const __mmask16 counts = _mm512_cmp_ps_mask(
                _mm512_abs_ps(y), _mm512_set1_ps(EE_SMALLEST), _CMP_GE_OQ);
            _mm512_mask_storeu_ps(out + t * dim + d, exists, _mm512_maskz_mov_ps(counts, y));
        }
    }
}

EE_TARGET_END

#endif
