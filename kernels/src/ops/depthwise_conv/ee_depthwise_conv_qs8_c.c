#include "ee_kernels_qs8.h"

void ee_depthwise_conv_qs8_c(float *out, const float *x, const float *weight, const float *bias,
                             size_t rows, size_t dim, size_t kernel, size_t weight_stride)
{
    const size_t half = kernel / 2;

    for (size_t t = 0; t < rows; t++) {
        /* Taps first..last-1 fall on frames that exist: 0 <= t + j - half < rows. */
        const size_t first = t < half ? half - t : 0;
        const size_t last = rows + half - t < kernel ? rows + half - t : kernel;

        for (size_t d = 0; d < dim; d++) {
            float sum = bias[d];
            for (size_t j = first; j < last; j++) {
                sum += x[(t + j - half) * dim + d] * weight[j * weight_stride + d];
            }
            out[t * dim + d] = sum;
        }
    }
}
