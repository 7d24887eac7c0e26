#include <math.h>

#include "../../ee_qs8.h"

/* Scratch, kept for the whole op: queries and keys in int8 (heads, rows, width) with a scale a row.
 * The values lie as floats in `out` until their head is done, and its context takes their place.
 * Then one after another, in the same memory:
 *   projection, for one block of frames: scales, queries and keys as floats (block, 2*dim), x in
 *   int8; the output projection needs less of the same
 *   heads: for one head the values transposed in int8 (width, rows) with their scales; for one
 *   block of queries the scores (block, rows), inverse sums, both digits of the context
 *   (2*block, width) and of the probabilities in int8 (2*block, rows) */
static size_t kept_scratch(size_t rows, size_t dim, size_t heads)
{
    const size_t all = ee_size_mul(heads, rows);

    return ee_size_mul(2, ee_size_add(ee_bytes_qs8(all, dim / heads), ee_floats_qs8(all, 1)));
}

static size_t projection_scratch(size_t block, size_t dim)
{
    const size_t floats = ee_size_add(ee_floats_qs8(block, 1),
                                      ee_floats_qs8(block, ee_size_mul(2, dim)));

    return ee_size_add(floats, ee_bytes_qs8(block, dim));
}

static size_t heads_scratch(size_t block, size_t rows, size_t width)
{
    size_t bytes = ee_size_add(ee_bytes_qs8(width, rows), ee_floats_qs8(width, 1));

    bytes = ee_size_add(bytes, ee_floats_qs8(ee_size_max(2 * block, width), 1));
    bytes = ee_size_add(bytes, ee_floats_qs8(block, rows));
    bytes = ee_size_add(bytes, ee_floats_qs8(block, 1));
    bytes = ee_size_add(bytes, ee_floats_qs8(2 * block, width));
    return ee_size_add(bytes, ee_bytes_qs8(2 * block, rows));
}

size_t ee_multi_head_attention_qs8_scratch(size_t rows, size_t dim, size_t heads)
{
    const size_t block = ee_block_frames(rows);

    return ee_size_add(kept_scratch(rows, dim, heads),
                       ee_size_max(projection_scratch(block, dim),
                                   heads_scratch(block, rows, dim / heads)));
}

/* Context of one head in the columns of `values` (rows, width), which hold its values before.
 * query (rows, width) and query_scale, the 1/sqrt(width) in it; key likewise. */
static void attend(float *values, const int8_t *query, const float *query_scale,
                   const int8_t *key, const float *key_scale, size_t rows, size_t width,
                   size_t values_stride, char *scratch, const ee_ops_qs8 *ops)
{
    const size_t step = ee_block_frames(rows);
    const size_t stride = ee_row_stride_qs8(width);
    const size_t time_stride = ee_row_stride_qs8(rows);
    const size_t ones_count = ee_size_max(2 * step, width);
    int8_t *const value = ee_take(&scratch, ee_bytes_qs8(width, rows));
    float *const value_scale = ee_take(&scratch, ee_floats_qs8(width, 1));
    float *const ones = ee_take(&scratch, ee_floats_qs8(ones_count, 1));
    float *const scores = ee_take(&scratch, ee_floats_qs8(step, rows));
    float *const inverse = ee_take(&scratch, ee_floats_qs8(step, 1));
    float *const context = ee_take(&scratch, ee_floats_qs8(2 * step, width));
    int8_t *const digits = (int8_t *)scratch;

    for (size_t i = 0; i < ones_count; i++) {
        ones[i] = 1.0f;
    }
    for (size_t d = 0; d < width; d++) {
        for (size_t t = 0; t < rows; t++) {
            scores[t] = values[t * values_stride + d];
        }
        ops->quantize(value + d * time_stride, value_scale + d, scores, 1, rows, time_stride, rows);
    }
    for (size_t t = 0; t < rows; t += step) {
        const size_t block = ee_size_min(rows - t, step);
        int8_t *const low = digits + block * time_stride;

        ops->linear(scores, query + t * stride, query_scale + t, key, key_scale, NULL, block,
                    width, rows, rows, stride, stride);
        ops->softmax(digits, low, inverse, scores, block, rows, time_stride);
        /* With scales of 1 a linear op gives the integer sums, rounded to float once. */
        ops->linear(context, digits, ones, value, ones, NULL, 2 * block, rows, width, width,
                    time_stride, time_stride);
        for (size_t i = 0; i < block; i++) {
            const float *const high_sum = context + i * width;
            const float *const low_sum = context + (block + i) * width;
            for (size_t d = 0; d < width; d++) {
                values[(t + i) * values_stride + d] =
                    (high_sum[d] * 128.0f + low_sum[d]) * (value_scale[d] * inverse[i]);
            }
        }
    }
}

void ee_multi_head_attention_qs8_c(float *out, const float *x, const int8_t *in_weight,
                                   const float *in_weight_scale, const float *in_bias,
                                   const int8_t *out_weight, const float *out_weight_scale,
                                   const float *out_bias, size_t rows, size_t dim, size_t heads,
                                   void *scratch, const ee_ops_qs8 *ops)
{
    const size_t width = dim / heads;
    const size_t step = ee_block_frames(rows);
    const size_t stride = ee_row_stride_qs8(dim);
    const size_t head_stride = ee_row_stride_qs8(width);
    char *rest = scratch;
    int8_t *const query = ee_take(&rest, ee_bytes_qs8(heads * rows, width));
    int8_t *const key = ee_take(&rest, ee_bytes_qs8(heads * rows, width));
    float *const query_scale = ee_take(&rest, ee_floats_qs8(heads * rows, 1));
    float *const key_scale = ee_take(&rest, ee_floats_qs8(heads * rows, 1));
    char *temporary = rest;
    float *const scale = ee_take(&temporary, ee_floats_qs8(step, 1));
    float *const wide = ee_take(&temporary, ee_floats_qs8(step, 2 * dim));
    int8_t *const q = (int8_t *)temporary;

    for (size_t t = 0; t < rows; t += step) {
        const size_t block = ee_size_min(rows - t, step);

        ops->quantize(q, scale, x + t * dim, block, dim, stride, dim);
        ops->linear(wide, q, scale, in_weight, in_weight_scale, in_bias, block, dim, 2 * dim,
                    2 * dim, stride, stride);
        ops->linear(out + t * dim, q, scale, in_weight + 2 * dim * stride,
                    in_weight_scale + 2 * dim, in_bias + 2 * dim, block, dim, dim, dim, stride,
                    stride);
        for (size_t h = 0; h < heads; h++) {
            const size_t row = h * rows + t;
            const float *const queries = wide + h * width;

            ops->quantize(query + row * head_stride, query_scale + row, queries, block, width,
                          head_stride, 2 * dim);
            ops->quantize(key + row * head_stride, key_scale + row, queries + dim, block, width,
                          head_stride, 2 * dim);
        }
    }

    const float one_over_root = 1.0f / sqrtf((float)width);
    for (size_t i = 0; i < heads * rows; i++) {
        query_scale[i] *= one_over_root;
    }
    for (size_t h = 0; h < heads; h++) {
        const size_t row = h * rows;

        attend(out + h * width, query + row * head_stride, query_scale + row,
               key + row * head_stride, key_scale + row, rows, width, dim, rest, ops);
    }

    for (size_t t = 0; t < rows; t += step) {
        const size_t block = ee_size_min(rows - t, step);
        float *const y = out + t * dim;

        ops->quantize(q, scale, y, block, dim, stride, dim);
        ops->linear(y, q, scale, out_weight, out_weight_scale, out_bias, block, dim, dim, dim,
                    stride, stride);
    }
}
