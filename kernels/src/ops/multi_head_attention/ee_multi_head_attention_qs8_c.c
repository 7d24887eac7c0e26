#include <math.h>
#include <string.h>

#include "../../common/ee_composites_qs8.h"

/* Queries, keys and values in int8 and their scales. */
size_t ee_multi_head_attention_qs8_shared(size_t rows, size_t dim, size_t heads)
{
    const size_t all = ee_size_mul(heads, rows);
    const size_t scales = ee_size_mul(3, ee_floats_qs8(all, 1));
    const size_t queries_and_keys = ee_size_mul(2, ee_bytes_qs8(all, dim / heads));

    return ee_size_add(scales, ee_size_add(queries_and_keys, ee_bytes_qs8(dim, rows)));
}

/* Scales, queries and keys as floats (block, 2*dim), where the values (block, dim) come after them,
 * x in int8, where the values of one head come after it; the output needs less of these. */
static size_t projection_scratch(size_t block, size_t dim)
{
    const size_t floats = ee_size_add(ee_floats_qs8(block, 1),
                                      ee_floats_qs8(block, ee_size_mul(2, dim)));

    return ee_size_add(floats, ee_bytes_qs8(block, dim));
}

/* For one block of queries and one head: ones, the scores (block, rows), a scale a query, both
 * digits of the context (2*block, width) and of the probabilities in int8 (2*block, rows). */
static size_t attend_scratch(size_t block, size_t rows, size_t width)
{
    size_t bytes = ee_floats_qs8(ee_size_max(2 * block, width), 1);

    bytes = ee_size_add(bytes, ee_floats_qs8(block, rows));
    bytes = ee_size_add(bytes, ee_floats_qs8(block, 1));
    bytes = ee_size_add(bytes, ee_floats_qs8(2 * block, width));
    return ee_size_add(bytes, ee_bytes_qs8(2 * block, rows));
}

size_t ee_multi_head_attention_qs8_block_scratch(size_t rows, size_t dim, size_t heads,
                                                 const ee_team *team)
{
    const size_t width = dim / heads;
    const size_t projection = projection_scratch(ee_block_frames(rows, team), dim);
    const size_t attend = attend_scratch(ee_query_frames(rows, team), rows, width);

    return ee_size_max(projection, attend);
}

size_t ee_multi_head_attention_qs8_scratch(size_t rows, size_t dim, size_t heads,
                                           const ee_team *team)
{
    return ee_size_add(ee_multi_head_attention_qs8_shared(rows, dim, heads),
                       ee_size_mul(ee_workers(team), ee_multi_head_attention_qs8_block_scratch(
                                                         rows, dim, heads, team)));
}

void *ee_multi_head_attention_qs8_place(ee_multi_head_attention_qs8 *op, void *scratch,
                                        const ee_team *team)
{
    const size_t all = op->heads * op->rows;
    const size_t width = op->dim / op->heads;
    char *rest = scratch;

    op->query_step = ee_query_frames(op->rows, team);
    op->query = ee_take(&rest, ee_bytes_qs8(all, width));
    op->key = ee_take(&rest, ee_bytes_qs8(all, width));
    op->query_scale = ee_take(&rest, ee_floats_qs8(all, 1));
    op->key_scale = ee_take(&rest, ee_floats_qs8(all, 1));
    op->value_scale = ee_take(&rest, ee_floats_qs8(all, 1));
    op->value = ee_take(&rest, ee_bytes_qs8(op->dim, op->rows));
    return rest;
}

size_t ee_multi_head_attention_qs8_items(const ee_multi_head_attention_qs8 *op)
{
    return op->heads * ee_block_count(op->rows, op->query_step);
}

/* The values of a head in frames first..first+count-1, (count, width), into their place; with the
 * last frame also the zeros behind all. */
static void place_values(const ee_multi_head_attention_qs8 *op, const int8_t *values, size_t head,
                         size_t first, size_t count)
{
    const size_t width = op->dim / op->heads;
    const size_t stride = ee_row_stride_qs8(width);
    const size_t time_stride = ee_row_stride_qs8(op->rows);
    const size_t behind = first + count == op->rows ? time_stride - op->rows : 0;

    for (size_t d = 0; d < width; d++) {
        int8_t *const to = op->value + (head * width + d) * time_stride + first;
        for (size_t t = 0; t < count; t++) {
            to[t] = values[t * stride + d];
        }
        memset(to + count, 0, behind);
    }
}

void ee_multi_head_attention_qs8_project(const ee_multi_head_attention_qs8 *op, const float *x,
                                         size_t first, size_t count, void *scratch)
{
    const ee_ops_qs8 *const ops = op->ops;
    const size_t dim = op->dim;
    const size_t width = dim / op->heads;
    const size_t stride = ee_row_stride_qs8(dim);
    const size_t head_stride = ee_row_stride_qs8(width);
    const float one_over_root = 1.0f / sqrtf((float)width);
    char *rest = scratch;
    float *const scale = ee_take(&rest, ee_floats_qs8(count, 1));
    float *const wide = ee_take(&rest, ee_floats_qs8(count, 2 * dim));
    int8_t *const q = (int8_t *)rest;
    int8_t *const value = q;

    ops->quantize(q, scale, x, count, dim, stride, dim);
    ops->linear(wide, q, scale, op->in_weight, op->in_weight_scale, op->in_bias, count, dim,
                2 * dim, 2 * dim, stride, stride);
    for (size_t h = 0; h < op->heads; h++) {
        const size_t row = h * op->rows + first;
        const float *const queries = wide + h * width;

        ops->quantize(op->query + row * head_stride, op->query_scale + row, queries, count, width,
                      head_stride, 2 * dim);
        ops->quantize(op->key + row * head_stride, op->key_scale + row, queries + dim, count, width,
                      head_stride, 2 * dim);
        for (size_t t = 0; t < count; t++) {
            op->query_scale[row + t] *= one_over_root;
        }
    }
    ops->linear(wide, q, scale, op->in_weight + 2 * dim * stride, op->in_weight_scale + 2 * dim,
                op->in_bias + 2 * dim, count, dim, dim, dim, stride, stride);
    for (size_t h = 0; h < op->heads; h++) {
        ops->quantize(value, op->value_scale + h * op->rows + first, wide + h * width, count, width,
                      head_stride, dim);
        place_values(op, value, h, first, count);
    }
}

void ee_multi_head_attention_qs8_attend(const ee_multi_head_attention_qs8 *op, size_t item,
                                        void *scratch)
{
    const ee_ops_qs8 *const ops = op->ops;
    const size_t rows = op->rows;
    const size_t width = op->dim / op->heads;
    const size_t head = item % op->heads;
    const size_t first = item / op->heads * op->query_step;
    const size_t count = ee_size_min(rows - first, op->query_step);
    const size_t stride = ee_row_stride_qs8(width);
    const size_t time_stride = ee_row_stride_qs8(rows);
    const size_t ones_count = ee_size_max(2 * count, width);
    const int8_t *const value = op->value + head * width * time_stride;
    char *rest = scratch;
    float *const ones = ee_take(&rest, ee_floats_qs8(ones_count, 1));
    float *const scores = ee_take(&rest, ee_floats_qs8(count, rows));
    float *const scale = ee_take(&rest, ee_floats_qs8(count, 1));
    float *const sums = ee_take(&rest, ee_floats_qs8(2 * count, width));
    int8_t *const high = (int8_t *)rest;
    int8_t *const low = high + count * time_stride;

    for (size_t i = 0; i < ones_count; i++) {
        ones[i] = 1.0f;
    }
    ops->linear(scores, op->query + (head * rows + first) * stride,
                op->query_scale + head * rows + first, op->key + head * rows * stride,
                op->key_scale + head * rows, NULL, count, width, rows, rows, stride, stride);
    ops->softmax(high, low, scale, scores, op->value_scale + head * rows, count, rows, time_stride);
    /* With scales of 1 a linear op gives the integer sums, rounded to float once. */
    ops->linear(sums, high, ones, value, ones, NULL, 2 * count, rows, width, width, time_stride,
                time_stride);
    for (size_t i = 0; i < count; i++) {
        float *const context = op->context + (first + i) * op->dim + head * width;
        const float *const high_sum = sums + i * width;
        const float *const low_sum = sums + (count + i) * width;

        for (size_t d = 0; d < width; d++) {
            context[d] = (high_sum[d] * 128.0f + low_sum[d]) * scale[i];
        }
    }
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
                    dim, dim, stride, stride);
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
void ee_multi_head_attention_qs8_c(float *out, const float *x, const int8_t *in_weight,
                                   const float *in_weight_scale, const float *in_bias,
                                   const int8_t *out_weight, const float *out_weight_scale,
                                   const float *out_bias, size_t rows, size_t dim, size_t heads,
                                   void *scratch, const ee_ops_qs8 *ops, const ee_team *team)
{
    job j = {
        .op = {.in_weight = in_weight, .in_weight_scale = in_weight_scale, .in_bias = in_bias,
               .out_weight = out_weight, .out_weight_scale = out_weight_scale,
               .out_bias = out_bias, .rows = rows, .dim = dim, .heads = heads, .context = out,
               .ops = ops},
        .out = out, .x = x,
    };
    void *const rest = ee_multi_head_attention_qs8_place(&j.op, scratch, team);

    j.blocks = ee_blocks_qs8(rows, ee_block_frames(rows, team), rest,
                             ee_multi_head_attention_qs8_block_scratch(rows, dim, heads, team));
    ee_for_blocks(team, &j.blocks, project_task, &j);
    ee_run(team, attend_task, &j, ee_multi_head_attention_qs8_items(&j.op));
    ee_for_blocks(team, &j.blocks, output_task, &j);
}
