#include <string.h>

#include "../../common/ee_team.h"

/* The channels of a group, contiguous, with zeros around the frames. */
static size_t worker_scratch(size_t rows, size_t dim, size_t in, size_t groups)
{
    const size_t width = dim / groups;

    return ee_size_add(ee_size_mul(rows, width), in - width);
}

size_t ee_grouped_conv_f32_scratch(size_t rows, size_t dim, size_t in, size_t groups,
                                   const ee_team *team)
{
    return ee_size_mul(ee_workers(team), worker_scratch(rows, dim, in, groups));
}

typedef struct {
    float *out;
    const float *x, *weight, *bias;
    size_t rows, dim, in, width;
    ee_blocks blocks; /* for the scratch of workers alone */
    const ee_ops_f32 *ops;
} job;

/* What a frame sees is then one run of `in` floats, and that of the next begins `width` floats
 * later: a linear op over overlapping rows. */
static void group_task(void *context, size_t item, size_t worker)
{
    const job *const j = context;
    const size_t width = j->width, first = item * width, stride = ee_row_stride(j->in);
    const size_t taps = j->in / width, before = taps / 2;
    float *const own = ee_worker_scratch(&j->blocks, worker);
    float *const behind = own + (before + j->rows) * width;

    memset(own, 0, before * width * sizeof *own);
    for (size_t t = 0; t < j->rows; t++) {
        memcpy(own + (before + t) * width, j->x + t * j->dim + first, width * sizeof *own);
    }
    memset(behind, 0, (taps - 1 - before) * width * sizeof *own);
    j->ops->linear(j->out + first, own, j->weight + first * stride, j->bias + first, j->rows, j->in,
                   width, j->dim, width, stride);
}

void ee_grouped_conv_f32_c(float *out, const float *x, const float *weight, const float *bias,
                           size_t rows, size_t dim, size_t in, size_t groups, float *scratch,
                           const ee_ops_f32 *ops, const ee_team *team)
{
    const job j = {out, x, weight, bias, rows, dim, in, dim / groups,
                   ee_blocks_f32(rows, 1, scratch, worker_scratch(rows, dim, in, groups)), ops};

    ee_run(team, group_task, &j, groups);
}
