#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_NEON

#include "../../ee_exact.h"
#include "../../ee_exact_neon.h"

void ee_log_softmax_qs8_neon(float *out, const float *x, size_t rows, size_t dim)
{
    for (size_t t = 0; t < rows; t++) {
        const float *row = x + t * dim;
        const float max = ee_exact_max(row, dim);

        ee_lanes8 lanes = {vdupq_n_f32(0.0f), vdupq_n_f32(0.0f)};
        for (size_t d = 0; d < dim; d += 8) {
            const ee_lanes8 e = ee_exact_exp(ee_exact_sub(ee_exact_load(row + d, dim - d), max));
            lanes = ee_exact_add(lanes, ee_exact_keep(e, dim - d));
        }
        const float log_sum = ee_log(ee_exact_sum(lanes));
        for (size_t d = 0; d < dim; d += 8) {
            const ee_lanes8 shifted = ee_exact_sub(ee_exact_load(row + d, dim - d), max);
            ee_exact_store(out + t * dim + d, ee_exact_sub(shifted, log_sum), dim - d);
        }
    }
}

#endif
