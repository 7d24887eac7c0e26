#include "ee_kernels.h"

#ifdef EE_HAVE_NEON

#include "../../common/ee_neon.h"
#include "../../common/ee_target.h"

#define ADD_PRODUCT(sum, v, w) vfmaq_f32(sum, v, w)
#include "ee_depthwise_conv_neon.h"

void ee_depthwise_conv_f32_neon(float *out, const float *x, const float *weight, const float *bias,
                                size_t rows, size_t before, size_t after, size_t dim,
                                size_t kernel, size_t ahead, size_t weight_stride)
{
    depthwise_conv_neon(out, x, weight, bias, rows, before, after, dim, kernel, ahead,
                        weight_stride);
}

#endif
