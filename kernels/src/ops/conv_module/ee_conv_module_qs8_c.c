#include "../../common/ee_composites_qs8.h"

/* wide (block, 2*dim), or convolved (block, dim); the scales of its rows; (block, dim) in int8. */
size_t ee_conv_module_qs8_block_scratch(size_t block, size_t dim)
{
    const size_t floats = ee_size_add(ee_floats_qs8(block, 1),
                                      ee_floats_qs8(block, ee_size_mul(2, dim)));

    return ee_size_add(floats, ee_bytes_qs8(block, dim));
}

/* Gated (past + rows, dim): the depthwise convolution looks both ways in time, so its input exists
 * in full; everything else is done a block at a time. */
size_t ee_conv_module_qs8_scratch(size_t rows, size_t dim, size_t kernel, size_t ahead,
                                  size_t past, const ee_team *team)
{
    const size_t block = ee_conv_module_qs8_block_scratch(ee_block_frames(rows, team), dim);
    const size_t seen = ee_size_add(rows, ee_size_min(past, kernel - 1 - ahead));

    return ee_size_add(ee_floats_qs8(seen, dim), ee_size_mul(ee_workers(team), block));
}

void ee_conv_module_qs8_gate(const ee_conv_module_qs8 *op, const float *x, size_t first,
                             size_t count, void *scratch)
{
    const ee_ops_qs8 *const ops = op->ops;
    const size_t dim = op->dim;
    const size_t stride = ee_row_stride_qs8(dim);
    char *rest = scratch;
    float *const wide = ee_take(&rest, ee_floats_qs8(count, 2 * dim));
    float *const scale = ee_take(&rest, ee_floats_qs8(count, 1));
    int8_t *const q = (int8_t *)rest;

    ops->layer_norm(wide, x, op->norm_weight, op->norm_bias, count, dim, op->eps);
    ops->quantize(q, scale, wide, count, dim, stride, dim);
    ops->linear(wide, q, scale, op->in_weight, op->in_weight_scale, op->in_bias, count, dim,
                2 * dim, 2 * dim, stride, ee_weight_stride_qs8(ops, dim));
    ops->glu(op->gated + (op->frames.past + first) * dim, wide, count, dim);
}

void ee_conv_module_qs8_output(const ee_conv_module_qs8 *op, float *out, size_t first,
                               size_t count, void *scratch)
{
    const ee_ops_qs8 *const ops = op->ops;
    const size_t dim = op->dim;
    const size_t stride = ee_row_stride_qs8(dim);
    char *rest = scratch;
    float *const convolved = ee_take(&rest, ee_floats_qs8(count, 2 * dim));
    float *const scale = ee_take(&rest, ee_floats_qs8(count, 1));
    int8_t *const q = (int8_t *)rest;

    for (size_t done = 0; done < count;) {
        const ee_conv_part part = ee_conv_part_of(&op->frames, first + done, count - done);
        const size_t from = op->frames.past + first + done - part.before;

        ops->depthwise_conv(convolved + done * dim, op->gated + from * dim, op->depthwise_weight,
                            op->depthwise_bias, part.count, part.before, part.after, dim,
                            op->frames.kernel, op->frames.ahead, ee_row_stride(dim));
        done += part.count;
    }
    ee_activate_quantize_qs8(ops->silu, q, scale, convolved, count, dim, ops);
    ops->linear(out, q, scale, op->out_weight, op->out_weight_scale, op->out_bias, count, dim, dim,
                dim, stride, ee_weight_stride_qs8(ops, dim));
}

typedef struct {
    ee_conv_module_qs8 op;
    ee_blocks blocks;
    float *out;
    const float *x;
} job;

static void gate_task(void *context, size_t item, size_t worker)
{
    const job *const j = context;
    const ee_block b = ee_block_of(&j->blocks, item, worker);

    ee_conv_module_qs8_gate(&j->op, j->x + b.first * j->op.dim, b.first, b.count, b.scratch);
}

static void output_task(void *context, size_t item, size_t worker)
{
    const job *const j = context;
    const ee_block b = ee_block_of(&j->blocks, item, worker);

    ee_conv_module_qs8_output(&j->op, j->out + b.first * j->op.dim, b.first, b.count, b.scratch);
}

void ee_conv_module_qs8_c(float *out, float *gated, const float *x,
                          const float *norm_weight, const float *norm_bias,
                          const int8_t *in_weight, const float *in_weight_scale,
                          const float *in_bias,
                          const float *depthwise_weight, const float *depthwise_bias,
                          const int8_t *out_weight, const float *out_weight_scale,
                          const float *out_bias,
                          const float *past_gated, size_t rows, size_t dim, size_t kernel,
                          float eps, size_t ahead, size_t chunk, size_t past,
                          void *scratch, const ee_ops_qs8 *ops, const ee_team *team)
{
    const size_t step = ee_block_frames(rows, team);
    const ee_conv_frames frames = ee_conv_frames_of(rows, past, chunk, kernel, ahead);
    char *rest = scratch;
    float *const all_gated = ee_take(&rest, ee_floats_qs8(frames.past + rows, dim));
    const job j = {
        {norm_weight, norm_bias, in_weight, in_weight_scale, in_bias, depthwise_weight,
         depthwise_bias, out_weight, out_weight_scale, out_bias, dim, frames, eps, all_gated, ops},
        ee_blocks_qs8(rows, step, rest, ee_conv_module_qs8_block_scratch(step, dim)),
        out, x,
    };

    ee_conv_recall(&frames, all_gated, past_gated, past, dim);
    ee_for_blocks(team, &j.blocks, gate_task, &j);
    ee_for_blocks(team, &j.blocks, output_task, &j);
    if (gated != NULL) {
        ee_copy_rows(gated, all_gated + frames.past * dim, rows, dim, dim, dim);
    }
}
