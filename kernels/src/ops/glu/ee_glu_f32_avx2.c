#include "ee_kernels.h"

#ifdef EE_HAVE_AVX2

#include "../../ee_avx2.h"

EE_TARGET_BEGIN("avx2,fma")

void ee_glu_f32_avx2(float *out, const float *x, size_t rows, size_t dim)
{
    for (size_t t = 0; t < rows; t++, out += dim, x += 2 * dim) {
        const float *const gate = x + dim;
        size_t d = 0;

        for (; d + 8 <= dim; d += 8) {
            _mm256_storeu_ps(out + d, ee_avx2_gate(_mm256_loadu_ps(x + d),
                                                   _mm256_loadu_ps(gate + d)));
        }
        if (d < dim) {
            const __m256i mask = ee_avx2_mask(dim - d);
            _mm256_maskstore_ps(out + d, mask, ee_avx2_gate(_mm256_maskload_ps(x + d, mask),
                                                            _mm256_maskload_ps(gate + d, mask)));
        }
    }
}

EE_TARGET_END

#endif
