#include "../../common/ee_composites_f32.h"

/* In turn: normed (block, dim) and wide (block, 2*dim); convolved and activated (block, dim). */
size_t ee_conv_module_f32_block_scratch(size_t block, size_t dim)
{
    return ee_size_mul(ee_size_mul(3, block), dim);
}

/* Gated (rows, dim): the depthwise convolution looks both ways in time, so its input exists in
 * full; everything else is done a block at a time. */
size_t ee_conv_module_f32_scratch(size_t rows, size_t dim, size_t kernel, const ee_team *team)
{
    const size_t block = ee_conv_module_f32_block_scratch(ee_block_frames(rows, team), dim);

    (void)kernel;
    return ee_size_add(ee_size_mul(rows, dim), ee_size_mul(ee_workers(team), block));
}

void ee_conv_module_f32_gate(const ee_conv_module_f32 *op, const float *x, size_t first,
                             size_t count, float *scratch)
{
    const size_t dim = op->dim;
    float *const normed = scratch;
    float *const wide = normed + count * dim;

    op->ops->layer_norm(normed, x, op->norm_weight, op->norm_bias, count, dim, op->eps);
    op->ops->linear(wide, normed, op->in_weight, op->in_bias, count, dim, 2 * dim, 2 * dim, dim,
                    ee_row_stride(dim));
    op->ops->glu(op->gated + first * dim, wide, count, dim);
}

void ee_conv_module_f32_output(const ee_conv_module_f32 *op, float *out, size_t first,
                               size_t count, float *scratch)
{
    const size_t dim = op->dim;
    const size_t stride = ee_row_stride(dim);
    float *const activated = scratch + count * dim;

    /* The convolution counts its rows from frame 0, which would lie before this block by less than
     * `gated` takes, so the pointer stays inside the array. */
    op->ops->depthwise_conv(activated - first * dim, op->gated, op->depthwise_weight,
                            op->depthwise_bias, op->rows, first, count, dim, op->kernel, stride);
    op->ops->silu(activated, activated, count * dim);
    op->ops->linear(out, activated, op->out_weight, op->out_bias, count, dim, dim, dim, dim,
                    stride);
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

void ee_conv_module_f32_c(float *out, const float *x,
                          const float *norm_weight, const float *norm_bias,
                          const float *in_weight, const float *in_bias,
                          const float *depthwise_weight, const float *depthwise_bias,
                          const float *out_weight, const float *out_bias,
                          size_t rows, size_t dim, size_t kernel, float eps,
                          float *scratch, const ee_ops_f32 *ops, const ee_team *team)
{
    const size_t step = ee_block_frames(rows, team);
    const job j = {
        {norm_weight, norm_bias, in_weight, in_bias, depthwise_weight, depthwise_bias, out_weight,
         out_bias, rows, dim, kernel, eps, scratch, ops},
        ee_blocks_f32(rows, step, scratch + rows * dim,
                      ee_conv_module_f32_block_scratch(step, dim)),
        out, x,
    };

    ee_for_blocks(team, &j.blocks, gate_task, &j);
    ee_for_blocks(team, &j.blocks, output_task, &j);
}
