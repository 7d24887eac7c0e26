#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_VNNI

#define EE_DIGITS 2
#include "../../common/ee_products_vnni.h"

/* The joined sums, of less than 2^31, are rounded once, as the sum of 128 times the one of the high
 * digits and the one of the low digits is: both are below 2^24. */
void ee_linear_digits_qs8_vnni(float *out, const int8_t *high, const int8_t *low,
                               const float *scale, const int8_t *weight,
                               const float *weight_scale, const float *bias,
                               size_t rows, size_t in, size_t outs,
                               size_t out_stride, size_t q_stride, size_t weight_stride)
{
    products_vnni(out, high, low, scale, weight, weight_scale, bias, rows, in, outs, out_stride,
                  q_stride, weight_stride);
}

#endif
