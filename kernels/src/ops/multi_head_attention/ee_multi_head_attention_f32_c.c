#include <math.h>

#include "../../ee_size.h"
#include "ee_kernels.h"

/* Scratch: qkv (rows, 3*dim), the values of one head transposed (dim/heads, rows), and the scores
 * of one block of queries against all keys, for one head (block, rows). */
size_t ee_multi_head_attention_f32_scratch(size_t rows, size_t dim, size_t heads)
{
    const size_t block = ee_block_frames(rows);
    const size_t qkv = ee_size_mul(rows, ee_size_mul(3, dim));
    const size_t values = ee_size_mul(rows, dim / heads);

    return ee_size_add(ee_size_add(qkv, values), ee_size_mul(block, rows));
}

void ee_multi_head_attention_f32_c(float *out, const float *x,
                                   const float *in_weight, const float *in_bias,
                                   const float *out_weight, const float *out_bias,
                                   size_t rows, size_t dim, size_t heads,
                                   float *scratch, const ee_ops_f32 *ops)
{
    const size_t width = dim / heads;
    const size_t stride = 3 * dim;
    const size_t step = ee_block_frames(rows);
    float *const qkv = scratch;
    float *const values = qkv + rows * stride;
    float *const scores = values + rows * width;

    ops->linear(qkv, x, in_weight, in_bias, rows, dim, stride, stride, dim, ee_row_stride(dim));

    /* Scaling the queries is less work than scaling the scores. */
    const float scale = 1.0f / sqrtf((float)width);
    for (size_t t = 0; t < rows; t++) {
        for (size_t d = 0; d < dim; d++) {
            qkv[t * stride + d] *= scale;
        }
    }

    for (size_t h = 0; h < heads; h++) {
        float *const q = qkv + h * width;
        const float *const k = q + dim;
        const float *const v = k + dim;

        /* softmax(scores) @ v is a linear op whose weight is v transposed. */
        for (size_t t = 0; t < rows; t++) {
            for (size_t d = 0; d < width; d++) {
                values[d * rows + t] = v[t * stride + d];
            }
        }
        for (size_t t = 0; t < rows; t += step) {
            const size_t block = ee_size_min(rows - t, step);
            float *const queries = q + t * stride;

            ops->linear(scores, queries, k, NULL, block, width, rows, rows, stride, stride);
            ops->softmax(scores, scores, block, rows);
            /* These queries are not needed again: the context takes their place. */
            ops->linear(queries, scores, values, NULL, block, rows, width, stride, rows, rows);
        }
    }
    ops->linear(out, qkv, out_weight, out_bias, rows, dim, dim, dim, stride, ee_row_stride(dim));
}
