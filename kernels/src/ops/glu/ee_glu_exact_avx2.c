#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_AVX2

#include "../../common/ee_exact_avx2.h"

EE_TARGET_BEGIN("avx2")

void ee_glu_exact_avx2(float *out, const float *x, size_t rows, size_t dim)
{
    for (size_t t = 0; t < rows; t++) {
        const float *value = x + t * 2 * dim;
        const float *gate = value + dim;
        for (size_t d = 0; d < dim; d += 8) {
            const __m256 v = ee_exact_load(value + d, dim - d);
            const __m256 g = ee_exact_load(gate + d, dim - d);
            ee_exact_store(out + t * dim + d, ee_exact_flush(ee_exact_gate(v, g)), dim - d);
        }
    }
}

EE_TARGET_END

#endif
