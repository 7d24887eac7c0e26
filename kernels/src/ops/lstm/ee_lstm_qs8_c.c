#include "../../common/ee_composites_qs8.h"
#include "../../common/ee_lstm.h"

/* Of a worker in a block: the scales of its rows, and the rows in int8. */
static size_t block_bytes(size_t block, size_t in)
{
    return ee_size_add(ee_floats_qs8(block, 1), ee_bytes_qs8(block, in));
}

/* In a direction: the gates of a frame (4*width), h and c (width), what a step uses, the scale of
 * h, and h in int8. */
static size_t direction_floats(size_t width)
{
    return ee_size_add(ee_size_mul(6, width), ee_lstm_step_floats(width));
}

static size_t direction_bytes(size_t width)
{
    return ee_size_add(ee_floats_qs8(ee_size_add(direction_floats(width), 1), 1),
                       ee_bytes_qs8(1, width));
}

/* Blocks and directions take turns. */
static size_t worker_bytes(size_t block, size_t in, size_t width)
{
    return ee_size_max(block_bytes(block, in), direction_bytes(width));
}

typedef struct {
    float *out;
    const float *x;
    const int8_t *in_weight;
    const float *in_weight_scale, *in_bias;
    const int8_t *weight[2]; /* forward, backward */
    const float *weight_scale[2];
    size_t rows, in, width;
    float *gates; /* (rows, 8*width): what the input adds, of both directions */
    ee_blocks blocks, directions;
    const ee_ops_qs8 *ops;
} job;

static void input_task(void *context, size_t item, size_t worker)
{
    const job *const j = context;
    const ee_block b = ee_block_of(&j->blocks, item, worker);
    const size_t outs = 8 * j->width;
    const size_t stride = ee_row_stride_qs8(j->in);
    char *rest = b.scratch;
    float *const scale = ee_take(&rest, ee_floats_qs8(b.count, 1));
    int8_t *const q = (int8_t *)rest;

    j->ops->quantize(q, scale, j->x + b.first * j->in, b.count, j->in, stride, j->in);
    j->ops->linear(j->gates + b.first * outs, q, scale, j->in_weight, j->in_weight_scale,
                   j->in_bias, b.count, j->in, outs, outs, stride,
                   ee_weight_stride_qs8(j->ops, j->in));
}

static void direction_task(void *context, size_t item, size_t worker)
{
    const job *const j = context;
    const size_t width = j->width;
    const size_t stride = ee_row_stride_qs8(width);
    char *rest = ee_worker_scratch(&j->directions, worker);
    float *const gates = ee_take(&rest, ee_floats_qs8(direction_floats(width) + 1, 1));
    int8_t *const q = (int8_t *)rest;
    float *const h = gates + 4 * width;
    float *const c = h + width;
    float *const scale = c + width;
    float *const step = scale + 1;

    memset(h, 0, 2 * width * sizeof(float));
    for (size_t n = 0; n < j->rows; n++) {
        const size_t t = item == 0 ? n : j->rows - 1 - n;

        j->ops->quantize(q, scale, h, 1, width, stride, width);
        j->ops->linear(gates, q, scale, j->weight[item], j->weight_scale[item],
                       j->gates + (2 * t + item) * 4 * width, 1, width, 4 * width, 4 * width,
                       stride, ee_weight_stride_qs8(j->ops, width));
        ee_lstm_step(h, c, gates, width, step, j->ops->glu);
        memcpy(j->out + (2 * t + item) * width, h, width * sizeof(float));
    }
}

size_t ee_lstm_qs8_scratch(size_t rows, size_t in, size_t width, const ee_team *team)
{
    const size_t block = ee_block_frames(rows, team);

    return ee_size_add(ee_floats_qs8(rows, ee_size_mul(8, width)),
                       ee_size_mul(ee_workers(team), worker_bytes(block, in, width)));
}

void ee_lstm_qs8_c(float *out, const float *x, const int8_t *in_weight,
                   const float *in_weight_scale, const float *in_bias,
                   const int8_t *forward_weight, const float *forward_weight_scale,
                   const int8_t *backward_weight, const float *backward_weight_scale, size_t rows,
                   size_t in, size_t width, void *scratch, const ee_ops_qs8 *ops,
                   const ee_team *team)
{
    const size_t step = ee_block_frames(rows, team);
    const size_t own = worker_bytes(step, in, width);
    const size_t directions = rows > 0 ? 2 : 0;
    char *rest = scratch;
    float *const gates = ee_take(&rest, ee_floats_qs8(rows, 8 * width));
    const job j = {
        out, x, in_weight, in_weight_scale, in_bias, {forward_weight, backward_weight},
        {forward_weight_scale, backward_weight_scale}, rows, in, width, gates,
        ee_blocks_qs8(rows, step, rest, own), ee_blocks_qs8(directions, 1, rest, own), ops,
    };

    ee_for_blocks(team, &j.blocks, input_task, &j);
    ee_for_blocks(team, &j.directions, direction_task, &j);
}
