#include "ee_kernels.h"

#ifdef EE_HAVE_AVX2

#include "../../common/ee_vector_avx2.h"

#define ADD_PRODUCT(sum, v, w) ee_fma(v, w, sum)
#include "ee_depthwise_conv_vector.h"

EE_TARGET_BEGIN(EE_VECTOR_TARGET)

void ee_depthwise_conv_f32_avx2(float *out, const float *x, const float *weight,
                                const float *bias, size_t rows, size_t before, size_t after,
                                size_t dim, size_t kernel, size_t ahead, size_t weight_stride)
{
    depthwise_conv_vector(out, x, weight, bias, rows, before, after, dim, kernel, ahead,
                          weight_stride);
}

EE_TARGET_END

#endif
