#include "../../common/ee_composites_qs8.h"

/* wide (block, dim), then (block, ff); the scales of its rows; the same in int8. */
size_t ee_feed_forward_qs8_block_scratch(size_t block, size_t dim, size_t ff)
{
    const size_t widest = ee_size_max(dim, ff);
    const size_t floats = ee_size_add(ee_floats_qs8(block, 1), ee_floats_qs8(block, widest));

    return ee_size_add(floats, ee_bytes_qs8(block, widest));
}

size_t ee_feed_forward_qs8_scratch(size_t rows, size_t dim, size_t ff, const ee_team *team)
{
    return ee_size_mul(ee_workers(team), ee_feed_forward_qs8_block_scratch(
                                             ee_block_frames(rows, team), dim, ff));
}

void ee_feed_forward_qs8_block(const ee_feed_forward_qs8 *op, float *out, const float *x,
                               size_t rows, void *scratch)
{
    const ee_ops_qs8 *const ops = op->ops;
    const size_t dim = op->dim;
    const size_t ff = op->ff;
    const size_t dim_stride = ee_row_stride_qs8(dim);
    const size_t ff_stride = ee_row_stride_qs8(ff);
    char *rest = scratch;
    float *const wide = ee_take(&rest, ee_floats_qs8(rows, ee_size_max(dim, ff)));
    float *const scale = ee_take(&rest, ee_floats_qs8(rows, 1));
    int8_t *const q = (int8_t *)rest;

    ops->layer_norm(wide, x, op->norm_weight, op->norm_bias, rows, dim, op->eps);
    ops->quantize(q, scale, wide, rows, dim, dim_stride, dim);
    ops->linear(wide, q, scale, op->up_weight, op->up_weight_scale, op->up_bias, rows, dim, ff, ff,
                dim_stride, ee_weight_stride_qs8(ops, dim));
    ee_activate_quantize_qs8(ops->silu, q, scale, wide, rows, ff, ops);
    ops->linear(out, q, scale, op->down_weight, op->down_weight_scale, op->down_bias, rows, ff, dim,
                dim, ff_stride, ee_weight_stride_qs8(ops, ff));
}

typedef struct {
    ee_feed_forward_qs8 op;
    ee_blocks blocks;
    float *out;
    const float *x;
} job;

static void block_task(void *context, size_t item, size_t worker)
{
    const job *const j = context;
    const ee_block b = ee_block_of(&j->blocks, item, worker);
    const size_t start = b.first * j->op.dim;

    ee_feed_forward_qs8_block(&j->op, j->out + start, j->x + start, b.count, b.scratch);
}

void ee_feed_forward_qs8_c(float *out, const float *x,
                           const float *norm_weight, const float *norm_bias,
                           const int8_t *up_weight, const float *up_weight_scale,
                           const float *up_bias, const int8_t *down_weight,
                           const float *down_weight_scale, const float *down_bias,
                           size_t rows, size_t dim, size_t ff, float eps,
                           void *scratch, const ee_ops_qs8 *ops, const ee_team *team)
{
    const size_t step = ee_block_frames(rows, team);
    const job j = {
        {norm_weight, norm_bias, up_weight, up_weight_scale, up_bias, down_weight,
         down_weight_scale, down_bias, dim, ff, eps, ops},
        ee_blocks_qs8(rows, step, scratch, ee_feed_forward_qs8_block_scratch(step, dim, ff)),
        out, x,
    };

    ee_for_blocks(team, &j.blocks, block_task, &j);
}
