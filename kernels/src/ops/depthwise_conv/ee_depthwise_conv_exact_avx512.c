#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_AVX512

#include "../../common/ee_vector_avx512.h"

/* Two roundings: -ffp-contract=off keeps the compiler from fusing them. */
#define ADD_PRODUCT(sum, v, w) ee_add(sum, ee_mul(v, w))
#include "ee_depthwise_conv_vector.h"

EE_TARGET_BEGIN(EE_VECTOR_TARGET)

void ee_depthwise_conv_exact_avx512(float *out, const float *x, const float *weight,
                                    const float *bias, size_t rows, size_t before, size_t after,
                                    size_t dim, size_t kernel, size_t ahead, size_t weight_stride)
{
    depthwise_conv_vector(out, x, weight, bias, rows, before, after, dim, kernel, ahead,
                          weight_stride);
}

EE_TARGET_END

#endif
