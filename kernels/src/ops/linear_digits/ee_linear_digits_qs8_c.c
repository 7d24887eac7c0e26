#include "../../common/ee_composites_qs8.h"

size_t ee_digits_product_qs8_scratch(size_t rows, size_t outs)
{
    return ee_size_add(ee_floats_qs8(ee_size_max(rows, outs), 1), ee_floats_qs8(rows, outs));
}

void ee_digits_product_qs8(float *out, const int8_t *high, const int8_t *low, const float *scale,
                           const int8_t *weight, const float *weight_scale, const float *bias,
                           size_t rows, size_t in, size_t outs,
                           size_t out_stride, size_t q_stride, size_t weight_stride,
                           void *scratch, const ee_ops_qs8 *ops)
{
    const size_t count = ee_size_max(rows, outs);
    char *rest = scratch;
    float *const ones = ee_take(&rest, ee_floats_qs8(count, 1));
    float *const sums = (float *)(void *)rest;

    for (size_t i = 0; i < count; i++) {
        ones[i] = 1.0f;
    }
    /* With scales of 1 a linear op gives the integer sums, rounded to float once. */
    ops->linear(out, high, ones, weight, ones, NULL, rows, in, outs, out_stride, q_stride,
                weight_stride);
    ops->linear(sums, low, ones, weight, ones, NULL, rows, in, outs, outs, q_stride, weight_stride);
    for (size_t t = 0; t < rows; t++, out += out_stride) {
        const float *const low_sums = sums + t * outs;

        for (size_t o = 0; o < outs; o++) {
            const float factor = weight_scale ? scale[t] * weight_scale[o] : scale[t];
            const float y = (out[o] * 128.0f + low_sums[o]) * factor;
            out[o] = bias ? y + bias[o] : y;
        }
    }
}

/* The scales, what the product takes, both digits. */
static size_t block_scratch(size_t block, size_t in, size_t outs)
{
    const size_t product = ee_digits_product_qs8_scratch(block, outs);

    return ee_size_add(ee_size_add(ee_floats_qs8(block, 1), product),
                       ee_size_mul(2, ee_bytes_qs8(block, in)));
}

size_t ee_linear_digits_qs8_scratch(size_t rows, size_t in, size_t outs, const ee_team *team)
{
    return ee_size_mul(ee_workers(team), block_scratch(ee_block_frames(rows, team), in, outs));
}

typedef struct {
    float *out;
    const float *x;
    const int8_t *weight;
    const float *weight_scale, *bias;
    size_t in, outs, x_stride;
    ee_blocks blocks;
    const ee_ops_qs8 *ops;
} job;

static void block_task(void *context, size_t item, size_t worker)
{
    const job *const j = context;
    const ee_block b = ee_block_of(&j->blocks, item, worker);
    const size_t stride = ee_row_stride_qs8(j->in);
    char *rest = b.scratch;
    float *const scale = ee_take(&rest, ee_floats_qs8(b.count, 1));
    void *const product = ee_take(&rest, ee_digits_product_qs8_scratch(b.count, j->outs));
    int8_t *const high = ee_take(&rest, ee_bytes_qs8(b.count, j->in));
    int8_t *const low = (int8_t *)rest;

    j->ops->quantize_digits(high, low, scale, j->x + b.first * j->x_stride, b.count, j->in, stride,
                            j->x_stride);
    ee_digits_product_qs8(j->out + b.first * j->outs, high, low, scale, j->weight, j->weight_scale,
                          j->bias, b.count, j->in, j->outs, j->outs, stride, stride, product,
                          j->ops);
}

void ee_linear_digits_qs8_c(float *out, const float *x, const int8_t *weight,
                            const float *weight_scale, const float *bias,
                            size_t rows, size_t in, size_t outs, size_t x_stride,
                            void *scratch, const ee_ops_qs8 *ops, const ee_team *team)
{
    const size_t step = ee_block_frames(rows, team);
    const job j = {out, x, weight, weight_scale, bias, in, outs, x_stride,
                   ee_blocks_qs8(rows, step, scratch, block_scratch(step, in, outs)), ops};

    ee_for_blocks(team, &j.blocks, block_task, &j);
}
