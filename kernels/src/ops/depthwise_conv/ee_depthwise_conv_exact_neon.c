#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_NEON

#include "../../common/ee_exact_neon.h"
#include "../../common/ee_target.h"

#define ADD_PRODUCT(sum, v, w) vaddq_f32(sum, vmulq_f32(v, w))
#include "ee_depthwise_conv_neon.h"

void ee_depthwise_conv_exact_neon(float *out, const float *x, const float *weight,
                                  const float *bias, size_t rows, size_t before, size_t after,
                                  size_t dim, size_t kernel, size_t ahead, size_t weight_stride)
{
    depthwise_conv_neon(out, x, weight, bias, rows, before, after, dim, kernel, ahead,
                        weight_stride);
}

#endif
