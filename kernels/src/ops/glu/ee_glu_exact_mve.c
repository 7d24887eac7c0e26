#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_MVE_FLOATS

#include "../../common/ee_exact_mve.h"

void ee_glu_exact_mve(float *out, const float *x, size_t rows, size_t dim)
{
    for (size_t t = 0; t < rows; t++, out += dim, x += 2 * dim) {
        size_t d = 0;

        for (; d + 4 <= dim; d += 4) {
            const float32x4_t y = ee_mve_gate(vld1q_f32(x + d), vld1q_f32(x + dim + d));
            vst1q_f32(out + d, ee_mve_flush(y));
        }
        if (d < dim) {
            const float32x4_t y
                = ee_mve_gate(ee_mve_load(x + d, dim - d), ee_mve_load(x + dim + d, dim - d));
            ee_mve_store(out + d, ee_mve_flush(y), dim - d);
        }
    }
}

#endif
