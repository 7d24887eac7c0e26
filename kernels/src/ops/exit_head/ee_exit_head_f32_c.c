#include "ee_kernels.h"

void ee_exit_head_f32_c(float *out, const float *x, const float *weight, const float *bias,
                        size_t rows, size_t dim, size_t vocab, const ee_ops_f32 *ops)
{
    ops->linear(out, x, weight, bias, rows, dim, vocab, vocab, dim, ee_row_stride(dim));
    ops->log_softmax(out, out, rows, vocab);
}
