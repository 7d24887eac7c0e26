#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_DSP

#include "../../common/ee_products_dsp.h"

void ee_linear_qs8_dsp(float *out, const int8_t *q, const float *scale, const int8_t *weight,
                       const float *weight_scale, const float *bias,
                       size_t rows, size_t in, size_t outs,
                       size_t out_stride, size_t q_stride, size_t weight_stride)
{
    products_dsp(out, q, NULL, scale, weight, weight_scale, bias, rows, in, outs, out_stride,
                 q_stride, weight_stride);
}

#endif
