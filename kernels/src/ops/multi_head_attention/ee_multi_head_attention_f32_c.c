#include <math.h>

#include "../../common/ee_composites_f32.h"

size_t ee_multi_head_attention_f32_shared(const ee_attention_frames *frames, size_t dim)
{
    return ee_size_mul(frames->seen, ee_size_mul(3, dim));
}

/* In turn: the values of one block (block, dim); the scores of one block of queries against the keys
 * that they see, for one head. */
size_t ee_multi_head_attention_f32_block_scratch(const ee_attention_frames *frames, size_t dim,
                                                 const ee_team *team)
{
    return ee_size_max(ee_size_mul(ee_block_frames(frames->rows, team), dim),
                       ee_size_mul(frames->query_step, frames->window));
}

size_t ee_multi_head_attention_f32_scratch(size_t rows, size_t dim, size_t heads, size_t chunk,
                                           size_t left, size_t past, const ee_team *team)
{
    const ee_attention_frames frames = ee_attention_frames_of(rows, past, chunk, left, team);

    (void)heads;
    return ee_size_add(ee_multi_head_attention_f32_shared(&frames, dim),
                       ee_size_mul(ee_workers(team), ee_multi_head_attention_f32_block_scratch(
                                                         &frames, dim, team)));
}

float *ee_multi_head_attention_f32_place(ee_multi_head_attention_f32 *op, float *scratch)
{
    op->qk = scratch;
    op->values = op->qk + op->frames.seen * 2 * op->dim;
    return op->values + op->frames.seen * op->dim;
}

void ee_multi_head_attention_f32_recall(const ee_multi_head_attention_f32 *op, const float *kv,
                                        size_t rows)
{
    const size_t dim = op->dim;
    const size_t past = op->frames.past;

    if (past > 0) {
        kv += (rows - past) * 2 * dim;
        ee_copy_rows(op->qk + dim, kv, past, dim, 2 * dim, 2 * dim);
        ee_transpose(op->values, kv + dim, past, dim, op->frames.seen, 2 * dim);
    }
}

void ee_multi_head_attention_f32_project(const ee_multi_head_attention_f32 *op, const float *x,
                                         size_t first, size_t count, float *scratch)
{
    const size_t dim = op->dim;
    const size_t stride = ee_weight_stride(op->ops, dim);
    const size_t at = op->frames.past + first;
    float *const qk = op->qk + at * 2 * dim;

    op->ops->linear(qk, x, op->in_weight, op->in_bias, count, dim, 2 * dim, 2 * dim, dim, stride);
    op->ops->linear(scratch, x, op->in_weight + 2 * dim * ee_row_stride(dim),
                    op->in_bias + 2 * dim, count, dim, dim, dim, dim, stride);
    ee_keep(&op->kept, 0, qk + dim, 2 * dim, first, count);
    ee_keep(&op->kept, dim, scratch, dim, first, count);

    /* Scaling the queries is less work than scaling the scores. */
    const float scale = 1.0f / sqrtf((float)(dim / op->heads));
    for (size_t t = 0; t < count; t++) {
        for (size_t d = 0; d < dim; d++) {
            qk[t * 2 * dim + d] *= scale;
        }
    }
    /* softmax(scores) @ values is a linear op whose weight is the values transposed. */
    ee_transpose(op->values + at, scratch, count, dim, op->frames.seen, dim);
}

/* To the scores of these queries their gates times the distances, key less query: a row of all pairs
 * is a window on the row of all distances. */
static void add_distances(const ee_multi_head_attention_f32 *op, const ee_queries *q, float *scores)
{
    const size_t rows = op->frames.rows;
    const float *const distances = op->distances + q->head * (2 * rows - 1);

    for (size_t t = q->first; t < q->first + q->count; t++, scores += q->seen_count) {
        ee_add_scaled(scores, scores, distances + rows - 1 - t + q->seen_first,
                      op->gates[t * op->heads + q->head], q->seen_count);
    }
}

void ee_multi_head_attention_f32_attend(const ee_multi_head_attention_f32 *op, size_t item,
                                        float *scratch)
{
    const ee_queries q = ee_queries_of(&op->frames, op->heads, item);
    const size_t width = op->dim / op->heads;
    const size_t stride = 2 * op->dim;
    const size_t seen = op->frames.seen;
    const float *const keys = op->qk + q.seen_first * stride + op->dim + q.head * width;
    const float *const values = op->values + q.head * width * seen + q.seen_first;
    float *const queries = op->qk + (op->frames.past + q.first) * stride + q.head * width;

    op->ops->linear(scratch, queries, keys, NULL, q.count, width, q.seen_count, q.seen_count,
                    stride, stride);
    if (op->gates != NULL) {
        add_distances(op, &q, scratch);
    }
    op->ops->softmax(scratch, scratch, q.count, q.seen_count);
    /* These queries are not needed again: the context takes their place. */
    op->ops->linear(queries, scratch, values, NULL, q.count, q.seen_count, width, stride,
                    q.seen_count, seen);
}

void ee_multi_head_attention_f32_output(const ee_multi_head_attention_f32 *op, float *out,
                                        size_t first, size_t count)
{
    const size_t dim = op->dim;

    op->ops->linear(out, op->qk + (op->frames.past + first) * 2 * dim, op->out_weight, op->out_bias,
                    count, dim, dim, dim, 2 * dim, ee_weight_stride(op->ops, dim));
}

typedef struct {
    ee_multi_head_attention_f32 op;
    ee_blocks blocks;
    float *out;
    const float *x;
} job;

static void project_task(void *context, size_t item, size_t worker)
{
    const job *const j = context;
    const ee_block b = ee_block_of(&j->blocks, item, worker);

    ee_multi_head_attention_f32_project(&j->op, j->x + b.first * j->op.dim, b.first, b.count,
                                        b.scratch);
}

static void attend_task(void *context, size_t item, size_t worker)
{
    const job *const j = context;

    ee_multi_head_attention_f32_attend(&j->op, item, ee_worker_scratch(&j->blocks, worker));
}

static void output_task(void *context, size_t item, size_t worker)
{
    const job *const j = context;
    const ee_block b = ee_block_of(&j->blocks, item, worker);

    ee_multi_head_attention_f32_output(&j->op, j->out + b.first * j->op.dim, b.first, b.count);
}

void ee_multi_head_attention_f32_c(float *out, float *kv, const float *x,
                                   const float *in_weight, const float *in_bias,
                                   const float *out_weight, const float *out_bias,
                                   const float *past_kv, size_t rows, size_t dim, size_t heads,
                                   size_t chunk, size_t left, size_t past,
                                   float *scratch, const ee_ops_f32 *ops, const ee_team *team)
{
    job j = {
        .op = {in_weight, in_bias, out_weight, out_bias, dim, heads,
               ee_attention_frames_of(rows, past, chunk, left, team), NULL, NULL, {kv, 0, dim},
               NULL, NULL, ops},
        .out = out, .x = x,
    };
    float *const rest = ee_multi_head_attention_f32_place(&j.op, scratch);

    j.blocks = ee_blocks_f32(rows, ee_block_frames(rows, team), rest,
                             ee_multi_head_attention_f32_block_scratch(&j.op.frames, dim, team));
    ee_multi_head_attention_f32_recall(&j.op, past_kv, past);
    ee_for_blocks(team, &j.blocks, project_task, &j);
    ee_run(team, attend_task, &j, ee_query_items(&j.op.frames, heads));
    ee_for_blocks(team, &j.blocks, output_task, &j);
}
