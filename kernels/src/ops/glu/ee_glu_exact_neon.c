#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_NEON

#include "../../common/ee_exact_neon.h"

void ee_glu_exact_neon(float *out, const float *x, size_t rows, size_t dim)
{
    for (size_t t = 0; t < rows; t++, out += dim, x += 2 * dim) {
        for (size_t d = 0; d < dim; d += 4) {
            const float32x4_t value = ee_neon_load(x + d, dim - d, 0.0f);
            const float32x4_t gate = ee_neon_load(x + dim + d, dim - d, 0.0f);
            ee_neon_store(out + d, ee_exact_flush4(ee_exact_gate(value, gate)), dim - d);
        }
    }
}

#endif
