#include "../../ee_size.h"
#include "ee_kernels.h"

/* Scratch: gated (rows, dim), and for one block of frames normed (block, dim) and wide
 * (block, 2*dim). The depthwise convolution looks both ways in time, so its input and its output
 * exist in full; everything else is done a block at a time. */
size_t ee_conv_module_f32_scratch(size_t rows, size_t dim, size_t kernel)
{
    const size_t block = ee_block_frames(rows);

    (void)kernel;
    return ee_size_mul(ee_size_add(rows, ee_size_mul(3, block)), dim);
}

void ee_conv_module_f32_c(float *out, const float *x,
                          const float *norm_weight, const float *norm_bias,
                          const float *in_weight, const float *in_bias,
                          const float *depthwise_weight, const float *depthwise_bias,
                          const float *out_weight, const float *out_bias,
                          size_t rows, size_t dim, size_t kernel, float eps,
                          float *scratch, const ee_ops_f32 *ops)
{
    const size_t stride = ee_row_stride(dim);
    const size_t step = ee_block_frames(rows);
    float *const gated = scratch;
    float *const normed = gated + rows * dim;
    float *const wide = normed + step * dim;

    for (size_t t = 0; t < rows; t += step) {
        const size_t block = ee_size_min(rows - t, step);

        ops->layer_norm(normed, x + t * dim, norm_weight, norm_bias, block, dim, eps);
        ops->linear(wide, normed, in_weight, in_bias, block, dim, 2 * dim, 2 * dim, dim, stride);
        ops->glu(gated + t * dim, wide, block, dim);
    }
    ops->depthwise_conv(out, gated, depthwise_weight, depthwise_bias, rows, dim, kernel, stride);

    /* The activated block goes to scratch, so that the last linear op can write over its input. */
    for (size_t t = 0; t < rows; t += step) {
        const size_t block = ee_size_min(rows - t, step);

        ops->silu(normed, out + t * dim, block * dim);
        ops->linear(out + t * dim, normed, out_weight, out_bias, block, dim, dim, dim, dim, stride);
    }
}
