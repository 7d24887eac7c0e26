#include "../../common/ee_composites_f32.h"

/* In turn: normed (block, dim) and wide (block, 2*dim); convolved and activated (block, dim). */
size_t ee_conv_module_f32_block_scratch(size_t block, size_t dim)
{
    return ee_size_mul(ee_size_mul(3, block), dim);
}

/* Gated (past + rows, dim): the depthwise convolution looks both ways in time, so its input exists
 * in full; everything else is done a block at a time. */
size_t ee_conv_module_f32_scratch(size_t rows, size_t dim, size_t kernel, size_t ahead,
                                  size_t past, const ee_team *team)
{
    const size_t block = ee_conv_module_f32_block_scratch(ee_block_frames(rows, team), dim);
    const size_t seen = ee_size_add(rows, ee_size_min(past, kernel - 1 - ahead));

    return ee_size_add(ee_size_mul(seen, dim), ee_size_mul(ee_workers(team), block));
}

void ee_conv_module_f32_gate(const ee_conv_module_f32 *op, const float *x, size_t first,
                             size_t count, float *scratch)
{
    const size_t dim = op->dim;
    float *const normed = scratch;
    float *const wide = normed + count * dim;

    op->ops->layer_norm(normed, x, op->norm_weight, op->norm_bias, count, dim, op->eps);
    op->ops->linear(wide, normed, op->in_weight, op->in_bias, count, dim, 2 * dim, 2 * dim, dim,
                    ee_weight_stride(op->ops, dim));
    op->ops->glu(op->gated + (op->frames.past + first) * dim, wide, count, dim);
}

void ee_conv_module_f32_output(const ee_conv_module_f32 *op, float *out, size_t first,
                               size_t count, float *scratch)
{
    const size_t dim = op->dim;
    const size_t stride = ee_row_stride(dim);
    float *const activated = scratch + count * dim;

    for (size_t done = 0; done < count;) {
        const ee_conv_part part = ee_conv_part_of(&op->frames, first + done, count - done);
        const size_t from = op->frames.past + first + done - part.before;

        op->ops->depthwise_conv(activated + done * dim, op->gated + from * dim, op->depthwise_weight,
                                op->depthwise_bias, part.count, part.before, part.after, dim,
                                op->frames.kernel, op->frames.ahead, stride);
        done += part.count;
    }
    op->ops->silu(activated, activated, count * dim);
    op->ops->linear(out, activated, op->out_weight, op->out_bias, count, dim, dim, dim, dim,
                    ee_weight_stride(op->ops, dim));
}

typedef struct {
    ee_conv_module_f32 op;
    ee_blocks blocks;
    float *out;
    const float *x;
} job;

static void gate_task(void *context, size_t item, size_t worker)
{
    const job *const j = context;
    const ee_block b = ee_block_of(&j->blocks, item, worker);

    ee_conv_module_f32_gate(&j->op, j->x + b.first * j->op.dim, b.first, b.count, b.scratch);
}

static void output_task(void *context, size_t item, size_t worker)
{
    const job *const j = context;
    const ee_block b = ee_block_of(&j->blocks, item, worker);

    ee_conv_module_f32_output(&j->op, j->out + b.first * j->op.dim, b.first, b.count, b.scratch);
}

void ee_conv_module_f32_c(float *out, float *gated, const float *x,
                          const float *norm_weight, const float *norm_bias,
                          const float *in_weight, const float *in_bias,
                          const float *depthwise_weight, const float *depthwise_bias,
                          const float *out_weight, const float *out_bias,
                          const float *past_gated, size_t rows, size_t dim, size_t kernel,
                          float eps, size_t ahead, size_t chunk, size_t past,
                          float *scratch, const ee_ops_f32 *ops, const ee_team *team)
{
    const size_t step = ee_block_frames(rows, team);
    const ee_conv_frames frames = ee_conv_frames_of(rows, past, chunk, kernel, ahead);
    const job j = {
        {norm_weight, norm_bias, in_weight, in_bias, depthwise_weight, depthwise_bias, out_weight,
         out_bias, dim, frames, eps, scratch, ops},
        ee_blocks_f32(rows, step, scratch + (frames.past + rows) * dim,
                      ee_conv_module_f32_block_scratch(step, dim)),
        out, x,
    };

    ee_conv_recall(&frames, scratch, past_gated, past, dim);
    ee_for_blocks(team, &j.blocks, gate_task, &j);
    ee_for_blocks(team, &j.blocks, output_task, &j);
    if (gated != NULL) {
        ee_copy_rows(gated, scratch + frames.past * dim, rows, dim, dim, dim);
    }
}
