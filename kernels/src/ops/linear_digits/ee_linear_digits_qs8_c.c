#include "../../common/ee_composites_qs8.h"

/* Ones, and the sums (2*rows, outs). */
size_t ee_digits_product_qs8_scratch(size_t rows, size_t outs)
{
    const size_t both = ee_size_mul(2, rows);

    return ee_size_add(ee_floats_qs8(ee_size_max(both, outs), 1), ee_floats_qs8(both, outs));
}

void ee_digits_product_qs8(float *out, const int8_t *digits, const float *scale,
                           const int8_t *weight, const float *weight_scale, const float *bias,
                           size_t rows, size_t in, size_t outs, size_t out_stride,
                           size_t weight_stride, void *scratch, const ee_ops_qs8 *ops)
{
    const size_t count = ee_size_max(2 * rows, outs);
    const size_t stride = ee_row_stride_qs8(in);
    char *rest = scratch;
    float *const ones = ee_take(&rest, ee_floats_qs8(count, 1));
    float *const sums = (float *)(void *)rest;

    if (ops->linear_digits != NULL && in <= EE_DIGITS_IN) {
        ops->linear_digits(out, digits, digits + rows * stride, scale, weight, weight_scale, bias,
                           rows, in, outs, out_stride, stride, weight_stride);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        ones[i] = 1.0f;
    }
    /* With scales of 1 a linear op gives the integer sums, rounded to float once. */
    ops->linear(sums, digits, ones, weight, ones, NULL, 2 * rows, in, outs, outs, stride,
                weight_stride);
    ee_join_digits_qs8(out, sums, sums + rows * outs, scale, weight_scale, bias, rows, outs,
                       out_stride);
}

void ee_join_digits_qs8(float *out, const float *high, const float *low, const float *scale,
                        const float *weight_scale, const float *bias, size_t rows, size_t outs,
                        size_t out_stride)
{
    for (size_t t = 0; t < rows; t++, out += out_stride, high += outs, low += outs) {
        for (size_t o = 0; o < outs; o++) {
            const float factor = weight_scale ? scale[t] * weight_scale[o] : scale[t];
            const float y = (high[o] * 128.0f + low[o]) * factor;
            out[o] = bias ? y + bias[o] : y;
        }
    }
}

/* The scales, what the product takes, both digits. */
size_t ee_linear_digits_qs8_block_scratch(size_t block, size_t in, size_t outs)
{
    const size_t digits = ee_bytes_qs8(ee_size_mul(2, block), in);

    return ee_size_add(ee_size_add(ee_floats_qs8(block, 1), digits),
                       ee_digits_product_qs8_scratch(block, outs));
}

size_t ee_linear_digits_qs8_scratch(size_t rows, size_t in, size_t outs, const ee_team *team)
{
    return ee_size_mul(ee_workers(team), ee_linear_digits_qs8_block_scratch(
                                             ee_block_frames(rows, team), in, outs));
}

void ee_linear_digits_qs8_block(float *out, const float *x, const int8_t *weight,
                                const float *weight_scale, const float *bias, size_t rows,
                                size_t in, size_t outs, size_t x_stride, size_t weight_stride,
                                void *scratch, const ee_ops_qs8 *ops)
{
    const size_t stride = ee_row_stride_qs8(in);
    char *rest = scratch;
    float *const scale = ee_take(&rest, ee_floats_qs8(rows, 1));
    void *const product = ee_take(&rest, ee_digits_product_qs8_scratch(rows, outs));
    int8_t *const digits = (int8_t *)rest;

    ops->quantize_digits(digits, digits + rows * stride, scale, x, rows, in, stride, x_stride);
    ee_digits_product_qs8(out, digits, scale, weight, weight_scale, bias, rows, in, outs, outs,
                          weight_stride, product, ops);
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

    ee_linear_digits_qs8_block(j->out + b.first * j->outs, j->x + b.first * j->x_stride, j->weight,
                               j->weight_scale, j->bias, b.count, j->in, j->outs, j->x_stride,
                               ee_weight_stride_qs8(j->ops, j->in), b.scratch, j->ops);
}

void ee_linear_digits_qs8_c(float *out, const float *x, const int8_t *weight,
                            const float *weight_scale, const float *bias,
                            size_t rows, size_t in, size_t outs, size_t x_stride,
                            void *scratch, const ee_ops_qs8 *ops, const ee_team *team)
{
    const size_t step = ee_block_frames(rows, team);
    const job j = {out, x, weight, weight_scale, bias, in, outs, x_stride,
                   ee_blocks_qs8(rows, step, scratch,
                                 ee_linear_digits_qs8_block_scratch(step, in, outs)), ops};

    ee_for_blocks(team, &j.blocks, block_task, &j);
}
