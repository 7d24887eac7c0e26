#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_SIMD128

#include "../../common/ee_vector_simd128.h"

#define ADD_PRODUCT(sum, v, w) ((sum) + (v) * (w))
#include "ee_depthwise_conv_vector.h"

void ee_depthwise_conv_exact_simd128(float *out, const float *x, const float *weight,
                                     const float *bias, size_t rows, size_t before, size_t after,
                                     size_t dim, size_t kernel, size_t ahead, size_t weight_stride)
{
    depthwise_conv_vector(out, x, weight, bias, rows, before, after, dim, kernel, ahead,
                          weight_stride);
}

#endif
