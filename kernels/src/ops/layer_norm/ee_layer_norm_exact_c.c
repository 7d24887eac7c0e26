#include <math.h>

#include "../../common/ee_exact.h"
#include "ee_kernels_qs8.h"

void ee_layer_norm_exact_c(float *out, const float *x, const float *weight, const float *bias,
                           size_t rows, size_t dim, float eps)
{
    const float one_over_dim = 1.0f / (float)dim;

    for (size_t t = 0; t < rows; t++) {
        const float *row = x + t * dim;
        const float mean = ee_sum(row, dim) * one_over_dim;

        float lanes[8] = {0.0f};
        for (size_t d = 0; d < dim; d++) {
            const float centred = ee_flush(row[d] - mean);
            lanes[d % 8] += centred * centred;
        }
        const float variance = ee_sum_lanes(lanes) * one_over_dim;
        const float inverse = 1.0f / sqrtf(variance + eps);

        for (size_t d = 0; d < dim; d++) {
            const float centred = ee_flush(row[d] - mean);
            out[t * dim + d] = ee_flush((centred * inverse) * weight[d]) + bias[d];
        }
    }
}
