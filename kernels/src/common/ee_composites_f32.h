/* ee_composites_f32.h: the composites of float32 in the pieces that a layer joins: what is done for
 * one block of frames after another, by any worker. Scratch is that of a worker;
 * ..._block_scratch() says how many floats. */
#ifndef EE_COMPOSITES_F32_H
#define EE_COMPOSITES_F32_H

#include "ee_view.h"

typedef struct {
    const float *norm_weight, *norm_bias, *up_weight, *up_bias, *down_weight, *down_bias;
    size_t dim, ff;
    float eps;
    const ee_ops_f32 *ops;
} ee_feed_forward_f32;

size_t ee_feed_forward_f32_block_scratch(size_t block, size_t dim, size_t ff);

/* x, out (rows, dim) of a block. out may be x, and the start of scratch. */
void ee_feed_forward_f32_block(const ee_feed_forward_f32 *op, float *out, const float *x,
                               size_t rows, float *scratch);

/* recall once; then project for all blocks; attend for items 0..ee_query_items() - 1; output for all
 * blocks. */
typedef struct {
    const float *in_weight, *in_bias, *out_weight, *out_bias;
    size_t dim, heads;
    ee_attention_frames frames;
    float *qk;     /* (seen, 2*dim): queries and keys; then the context in place of the queries */
    float *values; /* (dim, seen) */
    ee_kept_kv kept;
    const float *gates;     /* (rows, heads), of a gated attention; else NULL */
    const float *distances; /* (heads, 2 rows - 1), likewise */
    const ee_ops_f32 *ops;
} ee_multi_head_attention_f32;

/* Floats of qk and values. */
size_t ee_multi_head_attention_f32_shared(const ee_attention_frames *frames, size_t dim);
/* qk and values of an attention that has all else. Returns what is left of scratch. */
float *ee_multi_head_attention_f32_place(ee_multi_head_attention_f32 *op, float *scratch);
size_t ee_multi_head_attention_f32_block_scratch(const ee_attention_frames *frames, size_t dim,
                                                 const ee_team *team);

/* kv (rows, 2*dim): of the frames before, of which the newest are seen. */
void ee_multi_head_attention_f32_recall(const ee_multi_head_attention_f32 *op, const float *kv,
                                        size_t rows);
/* x and out: the block's own. */
void ee_multi_head_attention_f32_project(const ee_multi_head_attention_f32 *op, const float *x,
                                         size_t first, size_t count, float *scratch);
void ee_multi_head_attention_f32_attend(const ee_multi_head_attention_f32 *op, size_t item,
                                        float *scratch);
void ee_multi_head_attention_f32_output(const ee_multi_head_attention_f32 *op, float *out,
                                        size_t first, size_t count);

/* The gates of a gated attention, block by block. */
typedef struct {
    const float *weight, *bias, *scale;
    size_t dim, heads;
    float *gates; /* (rows, heads) */
    const ee_ops_f32 *ops;
} ee_gates_f32;

size_t ee_gates_f32_block_scratch(size_t block, size_t heads);

/* x: the block's own. */
void ee_gates_f32_block(const ee_gates_f32 *op, const float *x, size_t first, size_t count,
                        float *scratch);

/* gate for all blocks; output for all blocks. */
typedef struct {
    const float *norm_weight, *norm_bias, *in_weight, *in_bias;
    const float *depthwise_weight, *depthwise_bias, *out_weight, *out_bias;
    size_t dim;
    ee_conv_frames frames;
    float eps;
    float *gated; /* (past + rows, dim), of which the past is there before */
    const ee_ops_f32 *ops;
} ee_conv_module_f32;

size_t ee_conv_module_f32_block_scratch(size_t block, size_t dim);

/* x and out: the block's own. Of output, out may be the start of scratch. */
void ee_conv_module_f32_gate(const ee_conv_module_f32 *op, const float *x, size_t first,
                             size_t count, float *scratch);
void ee_conv_module_f32_output(const ee_conv_module_f32 *op, float *out, size_t first,
                               size_t count, float *scratch);

#endif
