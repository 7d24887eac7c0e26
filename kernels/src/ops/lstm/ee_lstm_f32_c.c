#include "../../common/ee_lstm.h"
#include "../../common/ee_team.h"

/* Of a worker: the gates of a frame (4*width), h and c (width), and what a step uses. */
static size_t direction_floats(size_t width)
{
    return ee_size_add(ee_size_mul(6, width), ee_lstm_step_floats(width));
}

typedef struct {
    float *out;
    const float *x, *in_weight, *in_bias;
    const float *weight[2]; /* forward, backward */
    size_t rows, in, width;
    float *gates; /* (rows, 8*width): what the input adds, of both directions */
    ee_blocks blocks, directions;
    const ee_ops_f32 *ops;
} job;

static void input_task(void *context, size_t item, size_t worker)
{
    const job *const j = context;
    const ee_block b = ee_block_of(&j->blocks, item, worker);
    const size_t outs = 8 * j->width;

    j->ops->linear(j->gates + b.first * outs, j->x + b.first * j->in, j->in_weight, j->in_bias,
                   b.count, j->in, outs, outs, j->in, ee_weight_stride(j->ops, j->in));
}

static void direction_task(void *context, size_t item, size_t worker)
{
    const job *const j = context;
    const size_t width = j->width;
    float *const gates = ee_worker_scratch(&j->directions, worker);
    float *const h = gates + 4 * width;
    float *const c = h + width;
    float *const rest = c + width;

    memset(h, 0, 2 * width * sizeof(float));
    for (size_t n = 0; n < j->rows; n++) {
        const size_t t = item == 0 ? n : j->rows - 1 - n;

        j->ops->linear(gates, h, j->weight[item], j->gates + (2 * t + item) * 4 * width, 1, width,
                       4 * width, 4 * width, width, ee_weight_stride(j->ops, width));
        ee_lstm_step(h, c, gates, width, rest, j->ops->glu);
        memcpy(j->out + (2 * t + item) * width, h, width * sizeof(float));
    }
}

size_t ee_lstm_f32_scratch(size_t rows, size_t in, size_t width, const ee_team *team)
{
    (void)in;
    return ee_size_add(ee_size_mul(ee_size_mul(rows, 8), width),
                       ee_size_mul(ee_workers(team), direction_floats(width)));
}

void ee_lstm_f32_c(float *out, const float *x, const float *in_weight, const float *in_bias,
                   const float *forward_weight, const float *backward_weight, size_t rows,
                   size_t in, size_t width, float *scratch, const ee_ops_f32 *ops,
                   const ee_team *team)
{
    const size_t directions = rows > 0 ? 2 : 0;
    const job j = {
        out, x, in_weight, in_bias, {forward_weight, backward_weight}, rows, in, width, scratch,
        ee_blocks_without_scratch(rows, ee_block_frames(rows, team)),
        ee_blocks_f32(directions, 1, scratch + rows * 8 * width, direction_floats(width)), ops,
    };

    ee_for_blocks(team, &j.blocks, input_task, &j);
    ee_for_blocks(team, &j.directions, direction_task, &j);
}
