#include "ee_kernels.h"

#ifdef EE_HAVE_NEON

#include "../../common/ee_neon.h"
#include "../../common/ee_size.h"
#include "../../common/ee_target.h"

/* Outputs lie across the lanes, so both sides are transposed on the stack: a block of up to
 * PANEL_ROWS rows of x once for all outputs, and 8 outputs of the weights once for all those rows.
 * A tile of 12 rows by 8 outputs has 24 vectors of sums; a step of `in` is 24 multiply-adds by a
 * lane for 5 loads, side by side in memory, and the 29 registers leave room to load ahead.
 *
 * Every output adds its products in the order of `in`, whatever the tile it is computed in: from
 * zero in each block of IN_BLOCK, and the blocks one after another. So it does not depend on the
 * number of rows or on its place. The weights of a block take 8 KB, the rows of a tile 12 KB: both
 * stay in a first-level cache of 32 KB. */
enum {
    LANES = 4,
    ROW_VECTORS = 3,
    TILE_ROWS = ROW_VECTORS * LANES,
    OUT_VECTORS = 2,
    TILE_OUTS = OUT_VECTORS * LANES,
    IN_BLOCK = 256,
    PANEL_ROWS = 4 * TILE_ROWS
};

/* packed[i * width + r] = from[r * stride + i] for r < width, which is 4, 8 or 12; rows from `count`
 * on repeat the last one that exists, and what is computed of them is not stored. `width` is a
 * constant where this is called. */
static inline __attribute__((always_inline)) void
transpose(float *packed, const float *from, size_t count, size_t in, size_t stride, size_t width)
{
    const float *rows[TILE_ROWS];
    size_t i = 0;

    EE_UNROLL
    for (size_t r = 0; r < width; r++) {
        rows[r] = from + ee_size_min(r, count - 1) * stride;
    }
    for (; i + LANES <= in; i += LANES, packed += LANES * width) {
        EE_UNROLL
        for (size_t r = 0; r < width; r += LANES) {
            const float32x4_t a = vld1q_f32(rows[r] + i), b = vld1q_f32(rows[r + 1] + i);
            const float32x4_t c = vld1q_f32(rows[r + 2] + i), d = vld1q_f32(rows[r + 3] + i);
            const float32x4_t ac0 = vzip1q_f32(a, c), ac1 = vzip2q_f32(a, c);
            const float32x4_t bd0 = vzip1q_f32(b, d), bd1 = vzip2q_f32(b, d);

            vst1q_f32(packed + r, vzip1q_f32(ac0, bd0));
            vst1q_f32(packed + r + width, vzip2q_f32(ac0, bd0));
            vst1q_f32(packed + r + 2 * width, vzip1q_f32(ac1, bd1));
            vst1q_f32(packed + r + 3 * width, vzip2q_f32(ac1, bd1));
        }
    }
    for (; i < in; i++, packed += width) {
        EE_UNROLL
        for (size_t r = 0; r < width; r++) {
            packed[r] = rows[r][i];
        }
    }
}

/* The products of one step: 4 * row_vectors rows by TILE_OUTS outputs. */
static inline __attribute__((always_inline)) void
add_step(float32x4_t sums[TILE_ROWS][OUT_VECTORS], const float *x, const float *weight,
         size_t row_vectors)
{
    float32x4_t w[OUT_VECTORS];

    EE_UNROLL
    for (size_t o = 0; o < OUT_VECTORS; o++) {
        w[o] = vld1q_f32(weight + o * LANES);
    }
    EE_UNROLL
    for (size_t v = 0; v < row_vectors; v++) {
        const float32x4_t xs = vld1q_f32(x + v * LANES);
        float32x4_t(*const four)[OUT_VECTORS] = sums + v * LANES;

        EE_UNROLL
        for (size_t o = 0; o < OUT_VECTORS; o++) {
            four[0][o] = vfmaq_laneq_f32(four[0][o], w[o], xs, 0);
            four[1][o] = vfmaq_laneq_f32(four[1][o], w[o], xs, 1);
            four[2][o] = vfmaq_laneq_f32(four[2][o], w[o], xs, 2);
            four[3][o] = vfmaq_laneq_f32(four[3][o], w[o], xs, 3);
        }
    }
}

/* out = start + x @ weight of a block of `in`, both transposed; start has rows start_stride apart,
 * or is NULL for zeros. `row_vectors` is a constant where this is called, so that the sums stay in
 * registers. */
static inline __attribute__((always_inline)) void
linear_tile(float *out, const float *x, const float *weight, const float *start, size_t rows,
            size_t in, size_t outs, size_t out_stride, size_t start_stride, size_t row_vectors)
{
    const size_t tile_rows = row_vectors * LANES;
    float32x4_t sums[TILE_ROWS][OUT_VECTORS];

    EE_UNROLL
    for (size_t r = 0; r < tile_rows; r++) {
        sums[r][0] = sums[r][1] = vdupq_n_f32(0.0f);
    }
    EE_UNROLL_BY(4)
    for (size_t i = 0; i < in; i++) {
        add_step(sums, x, weight, row_vectors);
        x += tile_rows;
        weight += TILE_OUTS;
    }

    if (rows >= tile_rows && outs == TILE_OUTS) {
        if (start) {
            EE_UNROLL
            for (size_t r = 0; r < tile_rows; r++) {
                const float *const from = start + r * start_stride;
                sums[r][0] = vaddq_f32(vld1q_f32(from), sums[r][0]);
                sums[r][1] = vaddq_f32(vld1q_f32(from + LANES), sums[r][1]);
            }
        }
        EE_UNROLL
        for (size_t r = 0; r < tile_rows; r++) {
            vst1q_f32(out + r * out_stride, sums[r][0]);
            vst1q_f32(out + r * out_stride + LANES, sums[r][1]);
        }
    } else {
        float tile[TILE_ROWS][TILE_OUTS];

        EE_UNROLL
        for (size_t r = 0; r < tile_rows; r++) {
            vst1q_f32(tile[r], sums[r][0]);
            vst1q_f32(tile[r] + LANES, sums[r][1]);
        }
        for (size_t r = 0; r < rows; r++) {
            for (size_t o = 0; o < outs; o++) {
                out[r * out_stride + o] = start ? start[r * start_stride + o] + tile[r][o]
                                                : tile[r][o];
            }
        }
    }
}

/* Up to PANEL_ROWS rows and one block of `in`, against all outputs. */
static void linear_panel(float *out, const float *x, const float *weight, const float *start,
                         size_t rows, size_t in, size_t outs, size_t out_stride, size_t x_stride,
                         size_t weight_stride, size_t start_stride)
{
    float xs[PANEL_ROWS * IN_BLOCK], ws[TILE_OUTS * IN_BLOCK];
    const size_t whole = rows - rows % TILE_ROWS, left = rows - whole;

    for (size_t t = 0; t < whole; t += TILE_ROWS) {
        transpose(xs + t * in, x + t * x_stride, TILE_ROWS, in, x_stride, TILE_ROWS);
    }
    if (left > 2 * LANES) {
        transpose(xs + whole * in, x + whole * x_stride, left, in, x_stride, TILE_ROWS);
    } else if (left > LANES) {
        transpose(xs + whole * in, x + whole * x_stride, left, in, x_stride, 2 * LANES);
    } else if (left > 0) {
        transpose(xs + whole * in, x + whole * x_stride, left, in, x_stride, LANES);
    }

    for (size_t o = 0; o < outs; o += TILE_OUTS) {
        const size_t width = ee_size_min(outs - o, TILE_OUTS);

        transpose(ws, weight + o * weight_stride, width, in, weight_stride, TILE_OUTS);
        for (size_t t = 0; t < rows; t += TILE_ROWS) {
            float *const to = out + t * out_stride + o;
            const float *const from = start ? start + t * start_stride + o : NULL;
            const float *const tile = xs + t * in;

            if (rows - t > 2 * LANES) {
                linear_tile(to, tile, ws, from, ee_size_min(rows - t, TILE_ROWS), in, width,
                            out_stride, start_stride, ROW_VECTORS);
            } else if (rows - t > LANES) {
                linear_tile(to, tile, ws, from, left, in, width, out_stride, start_stride, 2);
            } else {
                linear_tile(to, tile, ws, from, left, in, width, out_stride, start_stride, 1);
            }
        }
    }
}

void ee_linear_f32_neon(float *out, const float *x, const float *weight, const float *bias,
                        size_t rows, size_t in, size_t outs,
                        size_t out_stride, size_t x_stride, size_t weight_stride)
{
    for (size_t t = 0; t < rows; t += PANEL_ROWS) {
        float *const to = out + t * out_stride;

        for (size_t i = 0; i < in; i += IN_BLOCK) {
            /* The first block of `in` adds to the bias, the others to the sums so far. */
            linear_panel(to, x + t * x_stride + i, weight + i, i > 0 ? to : bias,
                         ee_size_min(rows - t, PANEL_ROWS), ee_size_min(in - i, IN_BLOCK), outs,
                         out_stride, x_stride, weight_stride, i > 0 ? out_stride : 0);
        }
    }
}

#endif
