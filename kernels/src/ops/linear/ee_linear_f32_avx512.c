#include "ee_kernels.h"

#ifdef EE_HAVE_AVX512

#include "../../common/ee_vector_avx512.h"
#include "ee_linear_f32_vector.h"

EE_TARGET_BEGIN(EE_VECTOR_TARGET)

void ee_linear_f32_avx512(float *out, const float *x, const float *weight, const float *bias,
                          size_t rows, size_t in, size_t outs,
                          size_t out_stride, size_t x_stride, size_t weight_stride)
{
    linear_vector(out, x, weight, bias, rows, in, outs, out_stride, x_stride, weight_stride);
}

void ee_linear_few_avx512(float *out, const float *x, const float *weight, const float *bias,
                            size_t rows, size_t in, size_t outs,
                            size_t out_stride, size_t x_stride, size_t weight_stride)
{
    linear_few(out, x, weight, bias, rows, in, outs, out_stride, x_stride, weight_stride);
}

void ee_pack_linear_avx512(float *to, const float *weight, size_t in, size_t outs,
                           size_t weight_stride)
{
    pack_vector(to, weight, in, outs, weight_stride);
}

EE_TARGET_END

#endif
