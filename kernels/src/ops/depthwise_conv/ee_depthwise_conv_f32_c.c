#include "ee_kernels.h"

void ee_depthwise_conv_f32_c(float *out, const float *x, const float *weight, const float *bias,
                             size_t frames, size_t first, size_t count, size_t dim,
                             size_t kernel, size_t weight_stride)
{
    const size_t half = kernel / 2;

    for (size_t t = first; t < first + count; t++) {
        /* Taps from..to-1 fall on frames that exist: 0 <= t + j - half < frames. */
        const size_t from = t < half ? half - t : 0;
        const size_t to = frames + half - t < kernel ? frames + half - t : kernel;

        for (size_t d = 0; d < dim; d++) {
            float sum = bias[d];
            for (size_t j = from; j < to; j++) {
                sum += weight[j * weight_stride + d] * x[(t + j - half) * dim + d];
            }
            out[t * dim + d] = sum;
        }
    }
}
