#include "ee_kernels.h"

void ee_linear_f32_c(float *out, const float *x, const float *weight, const float *bias,
                     size_t rows, size_t in, size_t outs,
                     size_t out_stride, size_t x_stride, size_t weight_stride)
{
    for (size_t t = 0; t < rows; t++) {
        for (size_t o = 0; o < outs; o++) {
            float sum = 0.0f;
            for (size_t i = 0; i < in; i++) {
                sum += x[t * x_stride + i] * weight[o * weight_stride + i];
            }
            out[t * out_stride + o] = bias ? sum + bias[o] : sum;
        }
    }
}
