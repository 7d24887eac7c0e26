#include "ee_kernels_qs8.h"

void ee_linear_qs8_c(float *out, const int8_t *q, const float *scale, const int8_t *weight,
                     const float *weight_scale, const float *bias,
                     size_t rows, size_t in, size_t outs,
                     size_t out_stride, size_t q_stride, size_t weight_stride)
{
    for (size_t t = 0; t < rows; t++) {
        for (size_t o = 0; o < outs; o++) {
            int32_t sum = 0;
            for (size_t i = 0; i < in; i++) {
                sum += (int32_t)q[t * q_stride + i] * weight[o * weight_stride + i];
            }
            const float y = (float)sum * (scale[t] * weight_scale[o]);
            out[t * out_stride + o] = bias ? y + bias[o] : y;
        }
    }
}
