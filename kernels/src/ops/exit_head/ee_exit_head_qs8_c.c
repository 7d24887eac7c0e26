#include "../../common/ee_team.h"
#include "ee_kernels_qs8.h"

typedef struct {
    float *out;
    size_t vocab;
    ee_blocks blocks;
    const ee_ops_qs8 *ops;
} job;

static void log_softmax_task(void *context, size_t item, size_t worker)
{
    const job *const j = context;
    const ee_block b = ee_block_of(&j->blocks, item, worker);
    float *const out = j->out + b.first * j->vocab;

    j->ops->log_softmax(out, out, b.count, j->vocab);
}

size_t ee_exit_head_qs8_scratch(size_t rows, size_t dim, size_t vocab, const ee_team *team)
{
    return ee_linear_digits_qs8_scratch(rows, dim, vocab, team);
}

void ee_exit_head_qs8_c(float *out, const float *x, const int8_t *weight,
                        const float *weight_scale, const float *bias,
                        size_t rows, size_t dim, size_t vocab, void *scratch,
                        const ee_ops_qs8 *ops, const ee_team *team)
{
    const job j = {out, vocab, ee_blocks_without_scratch(rows, ee_block_frames(rows, team)), ops};

    ee_linear_digits_qs8_c(out, x, weight, weight_scale, bias, rows, dim, vocab, dim, scratch, ops,
                           team);
    ee_for_blocks(team, &j.blocks, log_softmax_task, &j);
}
