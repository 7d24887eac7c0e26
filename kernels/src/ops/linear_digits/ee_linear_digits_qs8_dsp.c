#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_DSP

#include "../../common/ee_products_dsp.h"

/* Both digits at once: SMLAD takes 16 bits. The sums of high and low digits are below 2^24, which
 * float32 holds exactly, so that 128 times the first and the second are rounded once, in their sum,
 * as the sum of the joined digits is here. */
void ee_linear_digits_qs8_dsp(float *out, const int8_t *high, const int8_t *low,
                              const float *scale, const int8_t *weight,
                              const float *weight_scale, const float *bias,
                              size_t rows, size_t in, size_t outs,
                              size_t out_stride, size_t q_stride, size_t weight_stride)
{
    products_dsp(out, high, low, scale, weight, weight_scale, bias, rows, in, outs, out_stride,
                 q_stride, weight_stride);
}

#endif
