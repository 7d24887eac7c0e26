#include "../../ee_size.h"
#include "ee_kernels.h"

/* Scratch, for one block of frames: normed (block, dim), hidden (block, ff). */
size_t ee_feed_forward_f32_scratch(size_t rows, size_t dim, size_t ff)
{
    return ee_size_mul(ee_block_frames(rows), ee_size_add(dim, ff));
}

void ee_feed_forward_f32_c(float *out, const float *x,
                           const float *norm_weight, const float *norm_bias,
                           const float *up_weight, const float *up_bias,
                           const float *down_weight, const float *down_bias,
                           size_t rows, size_t dim, size_t ff, float eps,
                           float *scratch, const ee_ops_f32 *ops)
{
    const size_t step = ee_block_frames(rows);
    float *const normed = scratch;
    float *const hidden = normed + step * dim;

    for (size_t t = 0; t < rows; t += step) {
        const size_t block = ee_size_min(rows - t, step);

        ops->layer_norm(normed, x + t * dim, norm_weight, norm_bias, block, dim, eps);
        ops->linear(hidden, normed, up_weight, up_bias, block, dim, ff, ff, dim,
                    ee_row_stride(dim));
        ops->silu(hidden, hidden, block * ff);
        ops->linear(out + t * dim, hidden, down_weight, down_bias, block, ff, dim, dim, ff,
                    ee_row_stride(ff));
    }
}
