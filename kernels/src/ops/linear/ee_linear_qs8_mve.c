#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_MVE

#include "../../common/ee_exact_mve.h"

/* Two rows by four outputs, two outputs at a time: four loads of 16 bytes feed four VMLADAVA, each
 * of which multiplies 16 pairs and adds them all to one general register; a core that overlaps loads
 * and products keeps both busy. More sums do not fit, for only even registers will do. Rows begin
 * aligned and are padded to whole vectors, so no load is predicated. Four sums of a row become one
 * vector, for what is done in floats. */

typedef struct {
    int32_t row0[2], row1[2]; /* by output */
} products;

static inline __attribute__((always_inline)) products
products_2x2(const int8_t *q, const int8_t *weight, size_t groups, size_t q_stride,
             size_t weight_stride)
{
    const int8_t *q1 = q + q_stride;
    const int8_t *weight1 = weight + weight_stride;
    int32_t sum00 = 0, sum01 = 0, sum10 = 0, sum11 = 0;

    do {
        const int8x16_t x0 = vldrbq_s8(q);
        const int8x16_t w0 = vldrbq_s8(weight);
        const int8x16_t x1 = vldrbq_s8(q1);
        const int8x16_t w1 = vldrbq_s8(weight1);

        sum00 = vmladavaq_s8(sum00, x0, w0);
        sum10 = vmladavaq_s8(sum10, x1, w0);
        sum01 = vmladavaq_s8(sum01, x0, w1);
        sum11 = vmladavaq_s8(sum11, x1, w1);
        q += 16;
        q1 += 16;
        weight += 16;
        weight1 += 16;
    } while (--groups > 0);

    const products sums = {{sum00, sum01}, {sum10, sum11}};
    return sums;
}

static inline int32x4_t four_sums(const int32_t a[2], const int32_t b[2])
{
    int32x4_t sums = vuninitializedq_s32();

    sums = vsetq_lane_s32(a[0], sums, 0);
    sums = vsetq_lane_s32(a[1], sums, 1);
    sums = vsetq_lane_s32(b[0], sums, 2);
    return vsetq_lane_s32(b[1], sums, 3);
}

/* Four outputs of one row. */
static inline void store_sums(float *out, int32x4_t sums, float scale, float32x4_t weight_scale,
                              const float *bias)
{
    float32x4_t y = vmulq_f32(vcvtq_f32_s32(sums), vmulq_n_f32(weight_scale, scale));

    if (bias) {
        y = vaddq_f32(y, vld1q_f32(bias));
    }
    vst1q_f32(out, y);
}

static void tile_1x1(float *out, const int8_t *q, const float *scale, const int8_t *weight,
                     const float *weight_scale, const float *bias, size_t groups)
{
    int32_t sum = 0;

    for (; groups > 0; groups--) {
        sum = vmladavaq_s8(sum, vldrbq_s8(q), vldrbq_s8(weight));
        q += 16;
        weight += 16;
    }
    ee_store_sum(out, sum, *scale, *weight_scale, bias);
}

void ee_linear_qs8_mve(float *out, const int8_t *q, const float *scale, const int8_t *weight,
                       const float *weight_scale, const float *bias,
                       size_t rows, size_t in, size_t outs,
                       size_t out_stride, size_t q_stride, size_t weight_stride)
{
    const size_t groups = (in + 15) / 16;
    const size_t tiled_rows = rows - rows % 2;
    const size_t tiled_outs = outs - outs % 4;

    /* Outputs outermost: their weights may lie in slow flash, the rows of x in RAM. */
    for (size_t o = 0; o < tiled_outs; o += 4) {
        const int8_t *const w = weight + o * weight_stride;
        const float32x4_t scales = vld1q_f32(weight_scale + o);
        const float *const b = bias ? bias + o : NULL;

        for (size_t t = 0; t < tiled_rows; t += 2) {
            const int8_t *const x = q + t * q_stride;
            float *const y = out + t * out_stride + o;
            const products first = products_2x2(x, w, groups, q_stride, weight_stride);
            const products second
                = products_2x2(x, w + 2 * weight_stride, groups, q_stride, weight_stride);

            store_sums(y, four_sums(first.row0, second.row0), scale[t], scales, b);
            store_sums(y + out_stride, four_sums(first.row1, second.row1), scale[t + 1], scales, b);
        }
    }
    /* What the tiles leave over: the last outputs of all rows, then the last row. */
    for (size_t o = 0; o < outs; o++) {
        for (size_t t = o < tiled_outs ? tiled_rows : 0; t < rows; t++) {
            tile_1x1(out + t * out_stride + o, q + t * q_stride, scale + t,
                     weight + o * weight_stride, weight_scale + o, bias ? bias + o : NULL, groups);
        }
    }
}

#endif
