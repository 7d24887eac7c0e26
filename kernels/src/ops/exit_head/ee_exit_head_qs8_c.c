#include "../../common/ee_team.h"
#include "ee_kernels_qs8.h"

typedef struct {
    float *out;
    const float *x;
    const int8_t *weight;
    const float *weight_scale, *bias;
    size_t dim, vocab;
    ee_blocks blocks;
    const ee_ops_qs8 *ops;
} job;

/* The linear op on unquantised x is a convolution of one tap. */
static void block_task(void *context, size_t item, size_t worker)
{
    const job *const j = context;
    const ee_block b = ee_block_of(&j->blocks, item, worker);
    float *const out = j->out + b.first * j->vocab;

    j->ops->stem_conv(out, j->x + b.first * j->dim, j->weight, j->weight_scale, j->bias, b.count,
                      j->dim, j->vocab, 1, 1);
    j->ops->log_softmax(out, out, b.count, j->vocab);
}

void ee_exit_head_qs8_c(float *out, const float *x, const int8_t *weight,
                        const float *weight_scale, const float *bias,
                        size_t rows, size_t dim, size_t vocab, const ee_ops_qs8 *ops,
                        const ee_team *team)
{
    const job j = {out, x, weight, weight_scale, bias, dim, vocab,
                   ee_blocks_without_scratch(rows, ee_block_frames(rows, team)), ops};

    ee_for_blocks(team, &j.blocks, block_task, &j);
}
