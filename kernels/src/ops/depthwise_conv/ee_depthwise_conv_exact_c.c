#include "ee_kernels_qs8.h"

void ee_depthwise_conv_exact_c(float *out, const float *x, const float *weight, const float *bias,
                               size_t rows, size_t before, size_t after, size_t dim,
                               size_t kernel, size_t ahead, size_t weight_stride)
{
    const size_t frames = before + rows + after;
    const size_t behind = kernel - 1 - ahead;

    for (size_t t = 0; t < rows; t++) {
        const size_t at = before + t;
        /* Taps from..to-1 fall on frames that are there: 0 <= at + j - behind < frames. */
        const size_t from = at < behind ? behind - at : 0;
        const size_t to = frames + behind - at < kernel ? frames + behind - at : kernel;

        for (size_t d = 0; d < dim; d++) {
            float sum = bias[d];
            for (size_t j = from; j < to; j++) {
                sum += x[(at + j - behind) * dim + d] * weight[j * weight_stride + d];
            }
            out[t * dim + d] = sum;
        }
    }
}
