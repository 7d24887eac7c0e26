#include "ee_kernels_qs8.h"

/* The linear op on unquantised x is a convolution of one tap. */
void ee_exit_head_qs8_c(float *out, const float *x, const int8_t *weight,
                        const float *weight_scale, const float *bias,
                        size_t rows, size_t dim, size_t vocab, const ee_ops_qs8 *ops)
{
    ops->stem_conv(out, x, weight, weight_scale, bias, rows, dim, vocab, 1, 1);
    ops->log_softmax(out, out, rows, vocab);
}
