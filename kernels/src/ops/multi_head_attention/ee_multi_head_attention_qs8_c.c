#include <math.h>
#include <string.h>

#include "../../common/ee_composites_qs8.h"

static size_t value_bytes(const ee_attention_frames *frames, size_t dim, size_t heads)
{
    return frames->is_whole ? ee_bytes_qs8(dim, frames->rows)
                            : ee_bytes_qs8(ee_size_mul(heads, frames->seen), dim / heads);
}

/* Queries, keys and values in int8 and their scales. */
size_t ee_multi_head_attention_qs8_shared(const ee_attention_frames *frames, size_t dim,
                                          size_t heads)
{
    const size_t given = ee_size_mul(heads, frames->rows);
    const size_t seen = ee_size_mul(heads, frames->seen);
    const size_t scales = ee_size_add(ee_floats_qs8(given, 1),
                                      ee_size_mul(2, ee_floats_qs8(seen, 1)));
    const size_t queries_and_keys = ee_size_add(ee_bytes_qs8(given, dim / heads),
                                                ee_bytes_qs8(seen, dim / heads));

    return ee_size_add(scales,
                       ee_size_add(queries_and_keys, value_bytes(frames, dim, heads)));
}

/* Scales, queries and keys as floats (block, 2*dim), where the values (block, dim) come after them,
 * x in int8, where the values of one head come after it; the output needs less of these. */
static size_t projection_scratch(size_t block, size_t dim)
{
    const size_t floats = ee_size_add(ee_floats_qs8(block, 1),
                                      ee_floats_qs8(block, ee_size_mul(2, dim)));

    return ee_size_add(floats, ee_bytes_qs8(block, dim));
}

/* For one block of queries and one head: the scores (block, window), a scale a query, what the
 * product takes, both digits of the probabilities (2*block, window), and the values of a window
 * (width, window) where it is not whole. */
static size_t attend_scratch(const ee_attention_frames *frames, size_t width)
{
    const size_t block = frames->query_step;
    size_t bytes = ee_floats_qs8(block, frames->window);

    bytes = ee_size_add(bytes, ee_floats_qs8(block, 1));
    bytes = ee_size_add(bytes, ee_digits_product_qs8_scratch(block, width));
    bytes = ee_size_add(bytes, ee_bytes_qs8(2 * block, frames->window));
    return ee_size_add(bytes, frames->is_whole ? 0 : ee_bytes_qs8(width, frames->window));
}

size_t ee_multi_head_attention_qs8_block_scratch(const ee_attention_frames *frames, size_t dim,
                                                 size_t heads, const ee_team *team)
{
    return ee_size_max(projection_scratch(ee_block_frames(frames->rows, team), dim),
                       attend_scratch(frames, dim / heads));
}

size_t ee_multi_head_attention_qs8_scratch(size_t rows, size_t dim, size_t heads, size_t chunk,
                                           size_t left, size_t past, const ee_team *team)
{
    const ee_attention_frames frames = ee_attention_frames_of(rows, past, chunk, left, team);

    return ee_size_add(ee_multi_head_attention_qs8_shared(&frames, dim, heads),
                       ee_size_mul(ee_workers(team), ee_multi_head_attention_qs8_block_scratch(
                                                         &frames, dim, heads, team)));
}

void *ee_multi_head_attention_qs8_place(ee_multi_head_attention_qs8 *op, void *scratch)
{
    const size_t given = op->heads * op->frames.rows;
    const size_t seen = op->heads * op->frames.seen;
    const size_t width = op->dim / op->heads;
    char *rest = scratch;

    op->query = ee_take(&rest, ee_bytes_qs8(given, width));
    op->key = ee_take(&rest, ee_bytes_qs8(seen, width));
    op->query_scale = ee_take(&rest, ee_floats_qs8(given, 1));
    op->key_scale = ee_take(&rest, ee_floats_qs8(seen, 1));
    op->value_scale = ee_take(&rest, ee_floats_qs8(seen, 1));
    op->value = ee_take(&rest, value_bytes(&op->frames, op->dim, op->heads));
    return rest;
}

/* to[d, t] = values[t, d]: (count, width) to rows of to_stride, with zeros behind each. */
static void transpose(int8_t *to, size_t to_stride, const int8_t *values, size_t count,
                      size_t width, size_t zeros)
{
    const size_t stride = ee_row_stride_qs8(width);

    for (size_t d = 0; d < width; d++) {
        int8_t *const row = to + d * to_stride;
        for (size_t t = 0; t < count; t++) {
            row[t] = values[t * stride + d];
        }
        memset(row + count, 0, zeros);
    }
}

/* Keys in int8 of seen frames at..at+count-1. */
static void quantize_keys(const ee_multi_head_attention_qs8 *op, const float *keys, size_t stride,
                          size_t at, size_t count)
{
    const size_t width = op->dim / op->heads;
    const size_t head_stride = ee_row_stride_qs8(width);

    for (size_t h = 0; h < op->heads; h++) {
        const size_t row = h * op->frames.seen + at;

        op->ops->quantize(op->key + row * head_stride, op->key_scale + row, keys + h * width, count,
                          width, head_stride, stride);
    }
}

/* Likewise values; scratch: of one head in int8. With the last frame also the zeros behind all. */
static void quantize_values(const ee_multi_head_attention_qs8 *op, const float *values,
                            size_t stride, size_t at, size_t count, int8_t *scratch)
{
    const ee_attention_frames *const f = &op->frames;
    const size_t width = op->dim / op->heads;
    const size_t head_stride = ee_row_stride_qs8(width);
    const size_t time_stride = ee_row_stride_qs8(f->seen);
    const size_t zeros = at + count == f->seen ? time_stride - f->seen : 0;

    for (size_t h = 0; h < op->heads; h++) {
        const size_t row = h * f->seen + at;
        int8_t *const to = f->is_whole ? scratch : op->value + row * head_stride;

        op->ops->quantize(to, op->value_scale + row, values + h * width, count, width, head_stride,
                          stride);
        if (f->is_whole) {
            transpose(op->value + h * width * time_stride + at, time_stride, to, count, width,
                      zeros);
        }
    }
}

void ee_multi_head_attention_qs8_recall(const ee_multi_head_attention_qs8 *op, const float *kv,
                                        size_t rows)
{
    const size_t stride = 2 * op->dim;
    const size_t past = op->frames.past;

    if (past > 0) {
        kv += (rows - past) * stride;
        quantize_keys(op, kv, stride, 0, past);
        quantize_values(op, kv + op->dim, stride, 0, past, NULL);
    }
}

void ee_multi_head_attention_qs8_project(const ee_multi_head_attention_qs8 *op, const float *x,
                                         size_t first, size_t count, void *scratch)
{
    const ee_ops_qs8 *const ops = op->ops;
    const size_t dim = op->dim;
    const size_t width = dim / op->heads;
    const size_t stride = ee_row_stride_qs8(dim);
    const size_t weight_stride = ee_weight_stride_qs8(ops, dim);
    const size_t each_output = ops->is_packed ? ee_packed_stride_qs8(dim) : stride;
    const size_t head_stride = ee_row_stride_qs8(width);
    const size_t at = op->frames.past + first;
    const float one_over_root = 1.0f / sqrtf((float)width);
    char *rest = scratch;
    float *const scale = ee_take(&rest, ee_floats_qs8(count, 1));
    float *const wide = ee_take(&rest, ee_floats_qs8(count, 2 * dim));
    int8_t *const q = (int8_t *)rest;

    ops->quantize(q, scale, x, count, dim, stride, dim);
    ops->linear(wide, q, scale, op->in_weight, op->in_weight_scale, op->in_bias, count, dim,
                2 * dim, 2 * dim, stride, weight_stride);
    for (size_t h = 0; h < op->heads; h++) {
        const size_t row = h * op->frames.rows + first;

        ops->quantize(op->query + row * head_stride, op->query_scale + row, wide + h * width, count,
                      width, head_stride, 2 * dim);
        for (size_t t = 0; t < count; t++) {
            op->query_scale[row + t] *= one_over_root;
        }
    }
    quantize_keys(op, wide + dim, 2 * dim, at, count);
    ee_keep(&op->kept, 0, wide + dim, 2 * dim, first, count);

    ops->linear(wide, q, scale, op->in_weight + 2 * dim * each_output,
                op->in_weight_scale + 2 * dim, op->in_bias + 2 * dim, count, dim, dim, dim, stride,
                weight_stride);
    quantize_values(op, wide, dim, at, count, q);
    ee_keep(&op->kept, dim, wide, dim, first, count);
}

/* As in float32 mode. */
static void add_distances(const ee_multi_head_attention_qs8 *op, const ee_queries *q, float *scores)
{
    const size_t rows = op->frames.rows;
    const float *const distances = op->distances + q->head * (2 * rows - 1);

    for (size_t t = q->first; t < q->first + q->count; t++, scores += q->seen_count) {
        ee_add_scaled(scores, scores, distances + rows - 1 - t + q->seen_first,
                      op->gates[t * op->heads + q->head], q->seen_count);
    }
}

void ee_multi_head_attention_qs8_attend(const ee_multi_head_attention_qs8 *op, size_t item,
                                        void *scratch)
{
    const ee_ops_qs8 *const ops = op->ops;
    const ee_queries queries = ee_queries_of(&op->frames, op->heads, item);
    const size_t count = queries.count;
    const size_t window = queries.seen_count;
    const size_t width = op->dim / op->heads;
    const size_t stride = ee_row_stride_qs8(width);
    const size_t time_stride = ee_row_stride_qs8(window);
    const size_t query = queries.head * op->frames.rows + queries.first;
    const size_t seen = queries.head * op->frames.seen + queries.seen_first;
    char *rest = scratch;
    float *const scores = ee_take(&rest, ee_floats_qs8(count, window));
    float *const scale = ee_take(&rest, ee_floats_qs8(count, 1));
    void *const product = ee_take(&rest, ee_digits_product_qs8_scratch(count, width));
    int8_t *const digits = ee_take(&rest, 2 * count * time_stride);
    int8_t *value = op->value + queries.head * width * time_stride;

    if (!op->frames.is_whole) {
        value = (int8_t *)rest;
        transpose(value, time_stride, op->value + seen * stride, window, width,
                  time_stride - window);
    }
    ops->linear(scores, op->query + query * stride, op->query_scale + query,
                op->key + seen * stride, op->key_scale + seen, NULL, count, width, window, window,
                stride, stride);
    if (op->gates != NULL) {
        add_distances(op, &queries, scores);
    }
    ops->softmax(digits, digits + count * time_stride, scale, scores, op->value_scale + seen, count,
                 window, time_stride);
    ee_digits_product_qs8(op->context + queries.first * op->dim + queries.head * width, digits,
                          scale, value, NULL, NULL, count, window, width, op->dim, time_stride, product,
                          ops);
}

void ee_multi_head_attention_qs8_output(const ee_multi_head_attention_qs8 *op, float *out,
                                        size_t first, size_t count, void *scratch)
{
    const size_t dim = op->dim;
    const size_t stride = ee_row_stride_qs8(dim);
    char *rest = scratch;
    float *const scale = ee_take(&rest, ee_floats_qs8(count, 1));
    int8_t *const q = (int8_t *)rest;

    op->ops->quantize(q, scale, op->context + first * dim, count, dim, stride, dim);
    op->ops->linear(out, q, scale, op->out_weight, op->out_weight_scale, op->out_bias, count, dim,
                    dim, dim, stride, ee_weight_stride_qs8(op->ops, dim));
}

typedef struct {
    ee_multi_head_attention_qs8 op;
    ee_blocks blocks;
    float *out;
    const float *x;
} job;

static void project_task(void *context, size_t item, size_t worker)
{
    const job *const j = context;
    const ee_block b = ee_block_of(&j->blocks, item, worker);

    ee_multi_head_attention_qs8_project(&j->op, j->x + b.first * j->op.dim, b.first, b.count,
                                        b.scratch);
}

static void attend_task(void *context, size_t item, size_t worker)
{
    const job *const j = context;

    ee_multi_head_attention_qs8_attend(&j->op, item, ee_worker_scratch(&j->blocks, worker));
}

static void output_task(void *context, size_t item, size_t worker)
{
    const job *const j = context;
    const ee_block b = ee_block_of(&j->blocks, item, worker);

    ee_multi_head_attention_qs8_output(&j->op, j->out + b.first * j->op.dim, b.first, b.count,
                                       b.scratch);
}

/* The context lies in `out`. */
void ee_multi_head_attention_qs8_c(float *out, float *kv, const float *x, const int8_t *in_weight,
                                   const float *in_weight_scale, const float *in_bias,
                                   const int8_t *out_weight, const float *out_weight_scale,
                                   const float *out_bias, const float *past_kv, size_t rows,
                                   size_t dim, size_t heads, size_t chunk, size_t left,
                                   size_t past, void *scratch, const ee_ops_qs8 *ops,
                                   const ee_team *team)
{
    job j = {
        .op = {.in_weight = in_weight, .in_weight_scale = in_weight_scale, .in_bias = in_bias,
               .out_weight = out_weight, .out_weight_scale = out_weight_scale,
               .out_bias = out_bias, .dim = dim, .heads = heads,
               .frames = ee_attention_frames_of(rows, past, chunk, left, team), .context = out,
               .kept = {kv, 0, dim}, .ops = ops},
        .out = out, .x = x,
    };
    void *const rest = ee_multi_head_attention_qs8_place(&j.op, scratch);

    j.blocks = ee_blocks_qs8(rows, ee_block_frames(rows, team), rest,
                             ee_multi_head_attention_qs8_block_scratch(&j.op.frames, dim, heads,
                                                                       team));
    ee_multi_head_attention_qs8_recall(&j.op, past_kv, past);
    ee_for_blocks(team, &j.blocks, project_task, &j);
    ee_run(team, attend_task, &j, ee_query_items(&j.op.frames, heads));
    ee_for_blocks(team, &j.blocks, output_task, &j);
}
