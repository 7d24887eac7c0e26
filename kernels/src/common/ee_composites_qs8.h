/* ee_composites_qs8.h: the composites of int8 mode in the pieces that a layer joins: what is done
 * for one block of frames after another, by any worker. Scratch is that of a worker;
 * ..._block_scratch() says how many bytes, a multiple of 16. */
#ifndef EE_COMPOSITES_QS8_H
#define EE_COMPOSITES_QS8_H

#include "ee_qs8.h"
#include "ee_view.h"

/* As ee_blocks_f32, scratch and its size in bytes. */
static inline ee_blocks ee_blocks_qs8(size_t rows, size_t step, void *scratch, size_t bytes)
{
    const ee_blocks blocks = {rows, step, scratch, bytes};

    return blocks;
}

/* The weight_stride of a model's matrix whose rows hold n. */
static inline size_t ee_weight_stride_qs8(const ee_ops_qs8 *ops, size_t n)
{
    return ops->is_packed ? 0 : ee_row_stride_qs8(n);
}

/* x (rows, count) becomes activate(x), an op of the table, and that is quantised to q and scale: a few
 * rows at a time, so that the second op finds them in the first-level cache. */
static inline void ee_activate_quantize_qs8(ee_silu_exact *activate, int8_t *q, float *scale,
                                            float *x, size_t rows, size_t count,
                                            const ee_ops_qs8 *ops)
{
    const size_t fitting = 4096;
    const size_t stride = ee_row_stride_qs8(count);
    const size_t step = ee_size_max(fitting / ee_size_max(count, 1), 1);

    for (size_t t = 0; t < rows; t += step) {
        const size_t some = ee_size_min(rows - t, step);

        activate(x + t * count, x + t * count, some * count);
        ops->quantize(q + t * stride, scale + t, x + t * count, some, count, stride, count);
    }
}

typedef struct {
    const float *norm_weight, *norm_bias;
    const int8_t *up_weight;
    const float *up_weight_scale, *up_bias;
    const int8_t *down_weight;
    const float *down_weight_scale, *down_bias;
    size_t dim, ff;
    float eps;
    const ee_ops_qs8 *ops;
} ee_feed_forward_qs8;

size_t ee_feed_forward_qs8_block_scratch(size_t block, size_t dim, size_t ff);

/* x, out (rows, dim) of a block. out may be x, and the start of scratch. */
void ee_feed_forward_qs8_block(const ee_feed_forward_qs8 *op, float *out, const float *x,
                               size_t rows, void *scratch);

/* The product of rows of two digits:
 *   out[t, o] = ((float)H * 128 + (float)L) * (scale[t] * weight_scale[o]) + bias[o],
 * H and L the sums of both digits in int32. digits (2*rows, in): the high ones, then the low ones,
 * so that weights are read once. As ee_linear_qs8; a weight_scale of NULL is one of ones. */
size_t ee_digits_product_qs8_scratch(size_t rows, size_t outs);
void ee_digits_product_qs8(float *out, const int8_t *digits, const float *scale,
                           const int8_t *weight, const float *weight_scale, const float *bias,
                           size_t rows, size_t in, size_t outs, size_t out_stride,
                           size_t weight_stride, void *scratch, const ee_ops_qs8 *ops);

/* The same from the sums of both digits, already float, (rows, outs). */
void ee_join_digits_qs8(float *out, const float *high, const float *low, const float *scale,
                        const float *weight_scale, const float *bias, size_t rows, size_t outs,
                        size_t out_stride);

/* linear_digits of the rows of a block: x and out its own, as in ee_linear_digits_qs8_c.
 * weight_stride: 0 says that the weight is packed. */
size_t ee_linear_digits_qs8_block_scratch(size_t block, size_t in, size_t outs);
void ee_linear_digits_qs8_block(float *out, const float *x, const int8_t *weight,
                                const float *weight_scale, const float *bias, size_t rows,
                                size_t in, size_t outs, size_t x_stride, size_t weight_stride,
                                void *scratch, const ee_ops_qs8 *ops);

/* Mean and sum of squared differences from it, of up to EE_MOMENTS_EXACT channels over rows that come
 * in blocks of EE_MOMENTS_ROWS, the last of which may be shorter. All zeros before the first. */
enum { EE_MOMENTS_EXACT = 64, EE_MOMENTS_ROWS = 256 };

typedef struct {
    float mean[EE_MOMENTS_EXACT], squares[EE_MOMENTS_EXACT];
    size_t rows;
} ee_moments_exact;

/* x (rows, channels), with its stride; at least one row. */
void ee_moments_exact_add(ee_moments_exact *moments, const float *x, size_t rows, size_t channels,
                          size_t stride);
/* inverse[c] = 1 / sqrt(variance + eps) */
void ee_moments_exact_inverse(const ee_moments_exact *moments, float *inverse, size_t channels,
                              float eps);
/* What group_norm does when the moments are known. x, out (rows, channels) with their stride; out may
 * be x. */
void ee_group_norm_exact_rows(float *out, const float *x, const float *mean, const float *inverse,
                              const float *weight, const float *bias, size_t rows, size_t channels,
                              size_t stride);

/* The gates of a gated attention, block by block. */
typedef struct {
    const int8_t *weight;
    const float *weight_scale, *bias, *scale;
    size_t dim, heads;
    float *gates; /* (rows, heads) */
    const ee_ops_qs8 *ops;
} ee_gates_qs8;

size_t ee_gates_qs8_block_scratch(size_t block, size_t dim, size_t heads);
/* x: the block's own. */
void ee_gates_qs8_block(const ee_gates_qs8 *op, const float *x, size_t first, size_t count,
                        void *scratch);

/* recall once; then project for all blocks; attend for items 0..ee_query_items() - 1; output for all
 * blocks. */
typedef struct {
    const int8_t *in_weight;
    const float *in_weight_scale, *in_bias;
    const int8_t *out_weight;
    const float *out_weight_scale, *out_bias;
    size_t dim, heads;
    ee_attention_frames frames;
    float *context;                  /* (rows, dim) */
    int8_t *query, *key;             /* (heads, rows, width), (heads, seen, width) */
    float *query_scale;              /* (heads, rows), 1/sqrt(width) in them */
    float *key_scale, *value_scale;  /* (heads, seen) */
    int8_t *value;                   /* (dim, rows) where attention is whole, or (heads, seen, width) */
    ee_kept_kv kept;
    const float *gates;     /* (rows, heads), of a gated attention; else NULL */
    const float *distances; /* (heads, 2 rows - 1), likewise */
    const ee_ops_qs8 *ops;
} ee_multi_head_attention_qs8;

/* Bytes of what lies from query to value. */
size_t ee_multi_head_attention_qs8_shared(const ee_attention_frames *frames, size_t dim,
                                          size_t heads);
/* query to value of an attention that has all else. Returns what is left of scratch. */
void *ee_multi_head_attention_qs8_place(ee_multi_head_attention_qs8 *op, void *scratch);
size_t ee_multi_head_attention_qs8_block_scratch(const ee_attention_frames *frames, size_t dim,
                                                 size_t heads, const ee_team *team);

/* kv (rows, 2*dim): of the frames before, of which the newest are seen. */
void ee_multi_head_attention_qs8_recall(const ee_multi_head_attention_qs8 *op, const float *kv,
                                        size_t rows);
/* x and out: the block's own; either may be its rows of the context. */
void ee_multi_head_attention_qs8_project(const ee_multi_head_attention_qs8 *op, const float *x,
                                         size_t first, size_t count, void *scratch);
void ee_multi_head_attention_qs8_attend(const ee_multi_head_attention_qs8 *op, size_t item,
                                        void *scratch);
void ee_multi_head_attention_qs8_output(const ee_multi_head_attention_qs8 *op, float *out,
                                        size_t first, size_t count, void *scratch);

/* gate for all blocks; output for all blocks. */
typedef struct {
    const float *norm_weight, *norm_bias;
    const int8_t *in_weight;
    const float *in_weight_scale, *in_bias;
    const float *depthwise_weight, *depthwise_bias;
    const int8_t *out_weight;
    const float *out_weight_scale, *out_bias;
    size_t dim;
    ee_conv_frames frames;
    float eps;
    float *gated; /* (past + rows, dim), of which the past is there before */
    const ee_ops_qs8 *ops;
} ee_conv_module_qs8;

size_t ee_conv_module_qs8_block_scratch(size_t block, size_t dim);

/* x and out: the block's own. Of output, out may be the start of scratch. */
void ee_conv_module_qs8_gate(const ee_conv_module_qs8 *op, const float *x, size_t first,
                             size_t count, void *scratch);
void ee_conv_module_qs8_output(const ee_conv_module_qs8 *op, float *out, size_t first,
                               size_t count, void *scratch);

#endif
