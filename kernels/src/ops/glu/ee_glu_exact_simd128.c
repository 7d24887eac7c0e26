#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_SIMD128

#include "../../common/ee_exact_simd128.h"

void ee_glu_exact_simd128(float *out, const float *x, size_t rows, size_t dim)
{
    for (size_t t = 0; t < rows; t++, out += dim, x += 2 * dim) {
        for (size_t d = 0; d < dim; d += 4) {
            const ee_vec value = ee_load_part(x + d, dim - d);
            const ee_vec gate = ee_load_part(x + dim + d, dim - d);
            ee_store_part(out + d, ee_exact_flush4(ee_exact_gate(value, gate)), dim - d);
        }
    }
}

#endif
