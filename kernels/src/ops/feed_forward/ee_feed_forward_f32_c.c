#include "../../common/ee_composites_f32.h"

/* normed (block, dim), hidden (block, ff). */
size_t ee_feed_forward_f32_block_scratch(size_t block, size_t dim, size_t ff)
{
    return ee_size_mul(block, ee_size_add(dim, ff));
}

size_t ee_feed_forward_f32_scratch(size_t rows, size_t dim, size_t ff, const ee_team *team)
{
    return ee_size_mul(ee_workers(team), ee_feed_forward_f32_block_scratch(
                                             ee_block_frames(rows, team), dim, ff));
}

void ee_feed_forward_f32_block(const ee_feed_forward_f32 *op, float *out, const float *x,
                               size_t rows, float *scratch)
{
    const ee_ops_f32 *const ops = op->ops;
    const size_t dim = op->dim;
    const size_t ff = op->ff;
    float *const normed = scratch;
    float *const hidden = normed + rows * dim;

    ops->layer_norm(normed, x, op->norm_weight, op->norm_bias, rows, dim, op->eps);
    ops->linear(hidden, normed, op->up_weight, op->up_bias, rows, dim, ff, ff, dim,
                ee_weight_stride(ops, dim));
    ops->silu(hidden, hidden, rows * ff);
    ops->linear(out, hidden, op->down_weight, op->down_bias, rows, ff, dim, dim, ff,
                ee_weight_stride(ops, ff));
}

typedef struct {
    ee_feed_forward_f32 op;
    ee_blocks blocks;
    float *out;
    const float *x;
} job;

static void block_task(void *context, size_t item, size_t worker)
{
    const job *const j = context;
    const ee_block b = ee_block_of(&j->blocks, item, worker);
    const size_t start = b.first * j->op.dim;

    ee_feed_forward_f32_block(&j->op, j->out + start, j->x + start, b.count, b.scratch);
}

void ee_feed_forward_f32_c(float *out, const float *x,
                           const float *norm_weight, const float *norm_bias,
                           const float *up_weight, const float *up_bias,
                           const float *down_weight, const float *down_bias,
                           size_t rows, size_t dim, size_t ff, float eps,
                           float *scratch, const ee_ops_f32 *ops, const ee_team *team)
{
    const size_t step = ee_block_frames(rows, team);
    const job j = {
        {norm_weight, norm_bias, up_weight, up_bias, down_weight, down_bias, dim, ff, eps, ops},
        ee_blocks_f32(rows, step, scratch, ee_feed_forward_f32_block_scratch(step, dim, ff)),
        out, x,
    };

    ee_for_blocks(team, &j.blocks, block_task, &j);
}
