#include <math.h>

#include "../../common/ee_composites_f32.h"

size_t ee_multi_head_attention_f32_shared(size_t rows, size_t dim)
{
    return ee_size_mul(rows, ee_size_mul(3, dim));
}

/* In turn: the values of one block (block, dim); the scores of one block of queries against all
 * keys, for one head. */
size_t ee_multi_head_attention_f32_block_scratch(size_t rows, size_t dim, const ee_team *team)
{
    return ee_size_max(ee_size_mul(ee_block_frames(rows, team), dim),
                       ee_size_mul(ee_query_frames(rows, team), rows));
}

size_t ee_multi_head_attention_f32_scratch(size_t rows, size_t dim, size_t heads,
                                           const ee_team *team)
{
    (void)heads;
    return ee_size_add(ee_multi_head_attention_f32_shared(rows, dim),
                       ee_size_mul(ee_workers(team), ee_multi_head_attention_f32_block_scratch(
                                                         rows, dim, team)));
}

float *ee_multi_head_attention_f32_place(ee_multi_head_attention_f32 *op, float *scratch,
                                         const ee_team *team)
{
    op->query_step = ee_query_frames(op->rows, team);
    op->qk = scratch;
    op->values = op->qk + op->rows * 2 * op->dim;
    return op->values + op->rows * op->dim;
}

size_t ee_multi_head_attention_f32_items(const ee_multi_head_attention_f32 *op)
{
    return op->heads * ee_block_count(op->rows, op->query_step);
}

void ee_multi_head_attention_f32_project(const ee_multi_head_attention_f32 *op, const float *x,
                                         size_t first, size_t count, float *scratch)
{
    const size_t dim = op->dim;
    const size_t stride = ee_row_stride(dim);
    float *const qk = op->qk + first * 2 * dim;

    op->ops->linear(qk, x, op->in_weight, op->in_bias, count, dim, 2 * dim, 2 * dim, dim, stride);
    op->ops->linear(scratch, x, op->in_weight + 2 * dim * stride, op->in_bias + 2 * dim, count, dim,
                    dim, dim, dim, stride);

    /* Scaling the queries is less work than scaling the scores. */
    const float scale = 1.0f / sqrtf((float)(dim / op->heads));
    for (size_t t = 0; t < count; t++) {
        for (size_t d = 0; d < dim; d++) {
            qk[t * 2 * dim + d] *= scale;
        }
    }
    /* softmax(scores) @ values is a linear op whose weight is the values transposed. */
    ee_transpose(op->values + first, scratch, count, dim, op->rows, dim);
}

void ee_multi_head_attention_f32_attend(const ee_multi_head_attention_f32 *op, size_t item,
                                        float *scratch)
{
    const size_t width = op->dim / op->heads;
    const size_t stride = 2 * op->dim;
    const size_t rows = op->rows;
    const size_t head = item % op->heads;
    const size_t first = item / op->heads * op->query_step;
    const size_t count = ee_size_min(rows - first, op->query_step);
    const float *const keys = op->qk + op->dim + head * width;
    const float *const values = op->values + head * width * rows;
    float *const queries = op->qk + first * stride + head * width;

    op->ops->linear(scratch, queries, keys, NULL, count, width, rows, rows, stride, stride);
    op->ops->softmax(scratch, scratch, count, rows);
    /* These queries are not needed again: the context takes their place. */
    op->ops->linear(queries, scratch, values, NULL, count, rows, width, stride, rows, rows);
}

void ee_multi_head_attention_f32_output(const ee_multi_head_attention_f32 *op, float *out,
                                        size_t first, size_t count)
{
    const size_t dim = op->dim;

    op->ops->linear(out, op->qk + first * 2 * dim, op->out_weight, op->out_bias, count, dim, dim,
                    dim, 2 * dim, ee_row_stride(dim));
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

void ee_multi_head_attention_f32_c(float *out, const float *x,
                                   const float *in_weight, const float *in_bias,
                                   const float *out_weight, const float *out_bias,
                                   size_t rows, size_t dim, size_t heads,
                                   float *scratch, const ee_ops_f32 *ops, const ee_team *team)
{
    job j = {.op = {in_weight, in_bias, out_weight, out_bias, rows, dim, heads, 0, NULL, NULL, ops},
             .out = out, .x = x};
    float *const rest = ee_multi_head_attention_f32_place(&j.op, scratch, team);

    j.blocks = ee_blocks_f32(rows, ee_block_frames(rows, team), rest,
                             ee_multi_head_attention_f32_block_scratch(rows, dim, team));
    ee_for_blocks(team, &j.blocks, project_task, &j);
    ee_run(team, attend_task, &j, ee_multi_head_attention_f32_items(&j.op));
    ee_for_blocks(team, &j.blocks, output_task, &j);
}
