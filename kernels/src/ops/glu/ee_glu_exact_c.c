#include "../../common/ee_exact.h"
#include "ee_kernels_qs8.h"

void ee_glu_exact_c(float *out, const float *x, size_t rows, size_t dim)
{
    for (size_t t = 0; t < rows; t++) {
        const float *value = x + t * 2 * dim;
        const float *gate = value + dim;
        for (size_t d = 0; d < dim; d++) {
            out[t * dim + d] = ee_flush(value[d] / (1.0f + ee_exp(-gate[d])));
        }
    }
}
