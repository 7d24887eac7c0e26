#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_DSP

#include "../../common/ee_exact_dsp.h"

void ee_glu_exact_dsp(float *out, const float *x, size_t rows, size_t dim)
{
    for (size_t t = 0; t < rows; t++, out += dim, x += 2 * dim) {
        for (size_t d = 0; d < dim; d++) {
            out[d] = ee_flush(ee_gate_by_bits(x[d], x[dim + d]));
        }
    }
}

#endif
