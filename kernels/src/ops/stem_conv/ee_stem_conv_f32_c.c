#include "../../common/ee_team.h"

size_t ee_stem_conv_f32_frames(size_t frames, size_t kernel, size_t stride)
{
    return frames < kernel ? 0 : (frames - kernel) / stride + 1;
}

typedef struct {
    float *out;
    const float *x, *weight, *bias;
    size_t window, hop, outs;
    ee_blocks blocks;
    const ee_ops_f32 *ops;
} job;

/* With frames contiguous, the window of an output frame is one run of kernel*channels floats and
 * the next window begins stride*channels floats later: a linear op over overlapping rows. */
static void block_task(void *context, size_t item, size_t worker)
{
    const job *const j = context;
    const ee_block b = ee_block_of(&j->blocks, item, worker);

    j->ops->linear(j->out + b.first * j->outs, j->x + b.first * j->hop, j->weight, j->bias, b.count,
                   j->window, j->outs, j->outs, j->hop,
                   ee_weight_stride(j->ops, j->window));
}

void ee_stem_conv_f32_c(float *out, const float *x, const float *weight, const float *bias,
                        size_t frames, size_t channels, size_t outs, size_t kernel, size_t stride,
                        const ee_ops_f32 *ops, const ee_team *team)
{
    const size_t rows = ee_stem_conv_f32_frames(frames, kernel, stride);
    const job j = {out, x, weight, bias, kernel * channels, stride * channels, outs,
                   ee_blocks_without_scratch(rows, ee_block_frames(rows, team)), ops};

    ee_for_blocks(team, &j.blocks, block_task, &j);
}
