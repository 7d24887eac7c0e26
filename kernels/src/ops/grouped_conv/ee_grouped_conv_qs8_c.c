#include <string.h>

#include "../../common/ee_composites_qs8.h"

/* Windows that are copied at once, where they cannot be read in place. */
enum { COPIED = 48 };

typedef struct {
    size_t width, taps, in, stride;
    size_t front; /* bytes of zeros before the digits of the frames, which begin aligned */
    size_t bytes; /* of one digit of all frames, with the zeros around them */
    int in_place; /* a window is a row as it lies there, the next `width` bytes later */
    size_t step;  /* frames at once */
} plan;

static plan plan_of(size_t rows, size_t dim, size_t in, size_t groups)
{
    plan p = {.width = dim / groups, .in = in, .stride = ee_row_stride_qs8(in)};

    p.taps = in / p.width;
    p.front = ee_row_stride_qs8(ee_size_mul(p.taps / 2, p.width));
    p.bytes = ee_size_add(p.front, ee_bytes_qs8(1, ee_size_add(ee_size_mul(rows, p.width), in)));
    p.in_place = p.width % 16 == 0;
    p.step = p.in_place ? rows : ee_size_min(rows, COPIED);
    return p;
}

/* The channels of a group as floats; both digits; scales and ones; sums of both digits; windows. */
static size_t worker_scratch(const plan *p, size_t rows)
{
    const size_t ones = ee_floats_qs8(ee_size_max(p->step, p->width), 1);
    size_t bytes = ee_floats_qs8(rows, p->width);

    bytes = ee_size_add(bytes, ee_size_mul(2, p->bytes));
    bytes = ee_size_add(bytes, ee_size_add(ee_floats_qs8(p->step, 1), ones));
    bytes = ee_size_add(bytes, ee_size_mul(2, ee_floats_qs8(p->step, p->width)));
    return ee_size_add(bytes, p->in_place ? 0 : ee_bytes_qs8(p->step, p->in));
}

size_t ee_grouped_conv_qs8_scratch(size_t rows, size_t dim, size_t in, size_t groups,
                                   const ee_team *team)
{
    const plan p = plan_of(rows, dim, in, groups);

    return ee_size_mul(ee_workers(team), worker_scratch(&p, rows));
}

typedef struct {
    plan p;
    float *out;
    const float *x;
    const int8_t *weight;
    const float *weight_scale, *bias;
    size_t rows, dim;
    ee_blocks blocks; /* for the scratch of workers alone */
    const ee_ops_qs8 *ops;
} job;

/* sums (count, width): the products of one digit of the windows of frames first..first+count-1. */
static void multiply(const job *j, float *sums, const int8_t *digits, const int8_t *weight,
                     const float *ones, size_t first, size_t count, int8_t *copied)
{
    const plan *const p = &j->p;
    const int8_t *windows = digits + p->front - p->taps / 2 * p->width + first * p->width;
    size_t stride = p->width;

    if (!p->in_place) {
        for (size_t t = 0; t < count; t++) {
            memcpy(copied + t * p->stride, windows + t * p->width, p->in);
            memset(copied + t * p->stride + p->in, 0, p->stride - p->in);
        }
        windows = copied;
        stride = p->stride;
    }
    j->ops->linear(sums, windows, ones, weight, ones, NULL, count, p->in, p->width, p->width,
                   stride, p->stride);
}

static void group_task(void *context, size_t item, size_t worker)
{
    const job *const j = context;
    const plan *const p = &j->p;
    const size_t width = p->width, first = item * width, values = j->rows * width;
    const size_t ones_count = ee_size_max(p->step, width);
    char *rest = ee_worker_scratch(&j->blocks, worker);
    float *const own = ee_take(&rest, ee_floats_qs8(j->rows, width));
    int8_t *const high = ee_take(&rest, p->bytes);
    int8_t *const low = ee_take(&rest, p->bytes);
    float *const scale = ee_take(&rest, ee_floats_qs8(p->step, 1));
    float *const ones = ee_take(&rest, ee_floats_qs8(ones_count, 1));
    float *const high_sums = ee_take(&rest, ee_floats_qs8(p->step, width));
    float *const low_sums = ee_take(&rest, ee_floats_qs8(p->step, width));

    memset(high, 0, 2 * p->bytes);
    ee_copy_rows(own, j->x + first, j->rows, width, width, j->dim);
    j->ops->quantize_digits(high + p->front, low + p->front, scale, own, 1, values,
                            ee_row_stride_qs8(values), values);
    for (size_t i = 1; i < p->step; i++) {
        scale[i] = scale[0];
    }
    for (size_t i = 0; i < ones_count; i++) {
        ones[i] = 1.0f;
    }
    for (size_t t = 0; t < j->rows; t += p->step) {
        const size_t count = ee_size_min(j->rows - t, p->step);
        const int8_t *const weight = j->weight + first * p->stride;

        multiply(j, high_sums, high, weight, ones, t, count, (int8_t *)rest);
        multiply(j, low_sums, low, weight, ones, t, count, (int8_t *)rest);
        ee_join_digits_qs8(j->out + t * j->dim + first, high_sums, low_sums, scale,
                           j->weight_scale + first, j->bias + first, count, width, j->dim);
    }
}

void ee_grouped_conv_qs8_c(float *out, const float *x, const int8_t *weight,
                           const float *weight_scale, const float *bias, size_t rows, size_t dim,
                           size_t in, size_t groups, void *scratch, const ee_ops_qs8 *ops,
                           const ee_team *team)
{
    job j = {.p = plan_of(rows, dim, in, groups), .out = out, .x = x, .weight = weight,
             .weight_scale = weight_scale, .bias = bias, .rows = rows, .dim = dim, .ops = ops};

    j.blocks = ee_blocks_qs8(rows, 1, scratch, worker_scratch(&j.p, rows));
    if (rows > 0) {
        ee_run(team, group_task, &j, groups);
    }
}
