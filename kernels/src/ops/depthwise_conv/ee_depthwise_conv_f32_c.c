#include "ee_kernels_qs8.h"

/* Float32 mode takes any order; that of int8 mode will do. */
void ee_depthwise_conv_f32_c(float *out, const float *x, const float *weight, const float *bias,
                             size_t rows, size_t before, size_t after, size_t dim,
                             size_t kernel, size_t ahead, size_t weight_stride)
{
    ee_depthwise_conv_exact_c(out, x, weight, bias, rows, before, after, dim, kernel, ahead,
                              weight_stride);
}
