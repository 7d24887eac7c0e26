#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_NEON

#include <math.h>

#include "../../ee_exact_neon.h"

void ee_layer_norm_qs8_neon(float *out, const float *x, const float *weight, const float *bias,
                            size_t rows, size_t dim, float eps)
{
    const float one_over_dim = 1.0f / (float)dim;
    const ee_lanes8 zeros = {vdupq_n_f32(0.0f), vdupq_n_f32(0.0f)};

    for (size_t t = 0; t < rows; t++) {
        const float *row = x + t * dim;

        ee_lanes8 lanes = zeros;
        for (size_t d = 0; d < dim; d += 8) {
            lanes = ee_exact_add(lanes, ee_exact_load(row + d, dim - d));
        }
        const float mean = ee_exact_sum(lanes) * one_over_dim;

        lanes = zeros;
        for (size_t d = 0; d < dim; d += 8) {
            const ee_lanes8 centred = ee_exact_sub(ee_exact_load(row + d, dim - d), mean);
            const ee_lanes8 square = ee_exact_mul(centred, centred);
            lanes = ee_exact_add(lanes, ee_exact_keep(square, dim - d));
        }
        const float variance = ee_exact_sum(lanes) * one_over_dim;
        const float inverse = 1.0f / sqrtf(variance + eps);

        for (size_t d = 0; d < dim; d += 8) {
            const ee_lanes8 centred = ee_exact_sub(ee_exact_load(row + d, dim - d), mean);
            const ee_lanes8 y = ee_exact_mul(ee_exact_scale(centred, inverse),
                                             ee_exact_load(weight + d, dim - d));
            ee_exact_store(out + t * dim + d,
                           ee_exact_add(y, ee_exact_load(bias + d, dim - d)), dim - d);
        }
    }
}

#endif
