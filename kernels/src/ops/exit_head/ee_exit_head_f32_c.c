#include "../../common/ee_team.h"

typedef struct {
    float *out;
    const float *x, *weight, *bias;
    size_t dim, vocab;
    ee_blocks blocks;
    const ee_ops_f32 *ops;
} job;

static void block_task(void *context, size_t item, size_t worker)
{
    const job *const j = context;
    const ee_block b = ee_block_of(&j->blocks, item, worker);
    float *const out = j->out + b.first * j->vocab;

    j->ops->linear(out, j->x + b.first * j->dim, j->weight, j->bias, b.count, j->dim, j->vocab,
                   j->vocab, j->dim, ee_weight_stride(j->ops, j->dim));
    j->ops->log_softmax(out, out, b.count, j->vocab);
}

void ee_exit_head_f32_c(float *out, const float *x, const float *weight, const float *bias,
                        size_t rows, size_t dim, size_t vocab, const ee_ops_f32 *ops,
                        const ee_team *team)
{
    const job j = {out, x, weight, bias, dim, vocab,
                   ee_blocks_without_scratch(rows, ee_block_frames(rows, team)), ops};

    ee_for_blocks(team, &j.blocks, block_task, &j);
}
