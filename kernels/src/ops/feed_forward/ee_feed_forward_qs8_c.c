#include "../../ee_qs8.h"

/* Scratch, for one block of frames: the scales of its rows, wide (block, dim), then (block, ff),
 * and the same in int8. */
size_t ee_feed_forward_qs8_scratch(size_t rows, size_t dim, size_t ff)
{
    const size_t block = ee_block_frames(rows);
    const size_t widest = ee_size_max(dim, ff);
    const size_t floats = ee_size_add(ee_floats_qs8(block, 1), ee_floats_qs8(block, widest));

    return ee_size_add(floats, ee_bytes_qs8(block, widest));
}

void ee_feed_forward_qs8_c(float *out, const float *x,
                           const float *norm_weight, const float *norm_bias,
                           const int8_t *up_weight, const float *up_weight_scale,
                           const float *up_bias, const int8_t *down_weight,
                           const float *down_weight_scale, const float *down_bias,
                           size_t rows, size_t dim, size_t ff, float eps,
                           void *scratch, const ee_ops_qs8 *ops)
{
    const size_t step = ee_block_frames(rows);
    const size_t dim_stride = ee_row_stride_qs8(dim);
    const size_t ff_stride = ee_row_stride_qs8(ff);
    char *rest = scratch;
    float *const scale = ee_take(&rest, ee_floats_qs8(step, 1));
    float *const wide = ee_take(&rest, ee_floats_qs8(step, ee_size_max(dim, ff)));
    int8_t *const q = (int8_t *)rest;

    for (size_t t = 0; t < rows; t += step) {
        const size_t block = ee_size_min(rows - t, step);

        ops->layer_norm(wide, x + t * dim, norm_weight, norm_bias, block, dim, eps);
        ops->quantize(q, scale, wide, block, dim, dim_stride, dim);
        ops->linear(wide, q, scale, up_weight, up_weight_scale, up_bias, block, dim, ff, ff,
                    dim_stride, dim_stride);
        ops->silu(wide, wide, block * ff);
        ops->quantize(q, scale, wide, block, ff, ff_stride, ff);
        ops->linear(out + t * dim, q, scale, down_weight, down_weight_scale, down_bias, block, ff,
                    dim, dim, ff_stride, ff_stride);
    }
}
