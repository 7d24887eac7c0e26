#include "../../ee_qs8.h"

/* Scratch: gated (rows, dim), and for one block of frames the scales of its rows, wide
 * (block, 2*dim) and q (block, dim) in int8. The depthwise convolution looks both ways in time, so
 * its input and its output exist in full; everything else is done a block at a time. */
size_t ee_conv_module_qs8_scratch(size_t rows, size_t dim, size_t kernel)
{
    const size_t block = ee_block_frames(rows);
    size_t bytes = ee_floats_qs8(rows, dim);

    (void)kernel;
    bytes = ee_size_add(bytes, ee_floats_qs8(block, 1));
    bytes = ee_size_add(bytes, ee_floats_qs8(block, ee_size_mul(2, dim)));
    return ee_size_add(bytes, ee_bytes_qs8(block, dim));
}

void ee_conv_module_qs8_c(float *out, const float *x,
                          const float *norm_weight, const float *norm_bias,
                          const int8_t *in_weight, const float *in_weight_scale,
                          const float *in_bias,
                          const float *depthwise_weight, const float *depthwise_bias,
                          const int8_t *out_weight, const float *out_weight_scale,
                          const float *out_bias,
                          size_t rows, size_t dim, size_t kernel, float eps,
                          void *scratch, const ee_ops_qs8 *ops)
{
    const size_t step = ee_block_frames(rows);
    const size_t stride = ee_row_stride_qs8(dim);
    char *rest = scratch;
    float *const gated = ee_take(&rest, ee_floats_qs8(rows, dim));
    float *const scale = ee_take(&rest, ee_floats_qs8(step, 1));
    float *const wide = ee_take(&rest, ee_floats_qs8(step, 2 * dim));
    int8_t *const q = (int8_t *)rest;

    for (size_t t = 0; t < rows; t += step) {
        const size_t block = ee_size_min(rows - t, step);

        ops->layer_norm(wide, x + t * dim, norm_weight, norm_bias, block, dim, eps);
        ops->quantize(q, scale, wide, block, dim, stride, dim);
        ops->linear(wide, q, scale, in_weight, in_weight_scale, in_bias, block, dim, 2 * dim,
                    2 * dim, stride, stride);
        ops->glu(gated + t * dim, wide, block, dim);
    }
    ops->depthwise_conv(out, gated, depthwise_weight, depthwise_bias, rows, dim, kernel,
                        ee_row_stride(dim));
    for (size_t t = 0; t < rows; t += step) {
        const size_t block = ee_size_min(rows - t, step);
        float *const y = out + t * dim;

        ops->silu(y, y, block * dim);
        ops->quantize(q, scale, y, block, dim, stride, dim);
        ops->linear(y, q, scale, out_weight, out_weight_scale, out_bias, block, dim, dim, dim,
                    stride, stride);
    }
}
