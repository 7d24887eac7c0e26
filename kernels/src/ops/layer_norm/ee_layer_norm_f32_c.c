#include <math.h>

#include "ee_kernels.h"

void ee_layer_norm_f32_c(float *out, const float *x, const float *weight, const float *bias,
                         size_t rows, size_t dim, float eps)
{
    for (size_t t = 0; t < rows; t++) {
        const float *row = x + t * dim;

        float sum = 0.0f;
        for (size_t d = 0; d < dim; d++) {
            sum += row[d];
        }
        const float mean = sum / (float)dim;

        /* From the centred values: sum(x^2) - mean^2 would cancel when the mean is large. */
        float squares = 0.0f;
        for (size_t d = 0; d < dim; d++) {
            squares += (row[d] - mean) * (row[d] - mean);
        }
        const float scale = 1.0f / sqrtf(squares / (float)dim + eps);

        for (size_t d = 0; d < dim; d++) {
            out[t * dim + d] = (row[d] - mean) * scale * weight[d] + bias[d];
        }
    }
}
