#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_I8MM

#include "../../common/ee_exact_neon.h"
#include "../../common/ee_target.h"

/* SMMLA multiplies two rows of 8 int8 by two outputs of 8: 32 products into 2 x 2 sums. For that
 * both sides are packed on the stack in such pairs, 8 rows or outputs to a strip, so that a tile of
 * 8 x 8 has 16 vectors of sums and its step of 8 values of `in` is 8 loads, side by side in memory,
 * and 16 SMMLA. PANEL_STRIPS strips of weights are packed once for all rows, and each strip of rows
 * once for all of them.
 *
 * Where `in` is longer than a block, `out` holds the bits of the integer sums from one block to the
 * next. What lies behind the last row or output is computed of the last one that exists, and not
 * written. */
enum {
    STRIP = 8,
    PAIRS = STRIP / 2,
    STEP = 8,
    IN_BLOCK = 512,
    STRIP_BYTES = STRIP * IN_BLOCK,
    PANEL_STRIPS = 6
};

#if defined(__clang__)
EE_TARGET_BEGIN("i8mm")
#else
EE_TARGET_BEGIN("arch=armv8.2-a+i8mm")
#endif

/* packed[step][pair]: 8 values of an even row, then of the odd row after it. */
static void pack_strip(int8_t *packed, const int8_t *rows, size_t count, size_t in, size_t stride)
{
    for (size_t p = 0; p < PAIRS; p++) {
        const int8_t *const even = rows + ee_size_min(2 * p, count - 1) * stride;
        const int8_t *const odd = rows + ee_size_min(2 * p + 1, count - 1) * stride;
        int8_t *to = packed + p * 16;

        for (size_t i = 0; i < in; i += 2 * STEP) {
            const int64x2_t a = vreinterpretq_s64_s8(vld1q_s8(even + i));
            const int64x2_t b = vreinterpretq_s64_s8(vld1q_s8(odd + i));

            vst1q_s8(to, vreinterpretq_s8_s64(vzip1q_s64(a, b)));
            vst1q_s8(to + PAIRS * 16, vreinterpretq_s8_s64(vzip2q_s64(a, b)));
            to += 2 * PAIRS * 16;
        }
    }
}

/* What a tile writes to: (rows, outs) at `out`. */
typedef struct {
    float *out;
    const float *scale, *weight_scale, *bias;
    size_t rows, outs, out_stride;
    int is_first, is_last; /* block of `in` */
} target;

/* Four outputs, or `count`, of each row from their sums. Between blocks `out` holds the bits of
 * integers. The flags and `count` from 4 on are constants where speed matters. */
static inline __attribute__((always_inline)) void
put_column(float *out, const int32_t *sums, const float *scale, float32x4_t weight_scale,
           float32x4_t bias, size_t rows, size_t count, size_t out_stride, int is_first,
           int is_last, int has_bias)
{
    for (size_t r = 0; r < rows; r++, out += out_stride) {
        int32x4_t sum = vld1q_s32(sums + r * STRIP);

        if (!is_first) {
            sum = vaddq_s32(sum, vreinterpretq_s32_f32(ee_neon_load(out, count, 0.0f)));
        }
        if (is_last) {
            const float32x4_t factor = vmulq_n_f32(weight_scale, scale[r]);
            const float32x4_t y = vmulq_f32(vcvtq_f32_s32(sum), factor);
            ee_neon_store(out, has_bias ? vaddq_f32(y, bias) : y, count);
        } else {
            ee_neon_store(out, vreinterpretq_f32_s32(sum), count);
        }
    }
}

/* The outputs of `rows` rows of a tile from row `first` on. */
static void put_sums(const target *to, const int32_t *sums, size_t first, size_t rows)
{
    const size_t stride = to->out_stride;
    const float *const scale = to->scale + first;

    for (size_t o = 0; o < to->outs; o += 4) {
        const size_t left = to->outs - o;
        const int32_t *const column = sums + o;
        float *const out = to->out + first * stride + o;
        const float32x4_t weight_scale = ee_neon_load(to->weight_scale + o, left, 0.0f);
        const float32x4_t bias = to->bias ? ee_neon_load(to->bias + o, left, 0.0f)
                                          : vdupq_n_f32(0.0f);

        if (left < 4 || !to->is_first || !to->is_last) {
            put_column(out, column, scale, weight_scale, bias, rows, left, stride, to->is_first,
                       to->is_last, to->bias != NULL);
        } else if (to->bias) {
            put_column(out, column, scale, weight_scale, bias, rows, 4, stride, 1, 1, 1);
        } else {
            put_column(out, column, scale, weight_scale, bias, rows, 4, stride, 1, 1, 0);
        }
    }
}

/* `pairs` pairs of rows, the first of them `first`, by a strip of outputs. `pairs` is a constant
 * where this is called, so that the sums stay in registers. */
static inline __attribute__((always_inline)) void
linear_tile(const target *to, const int8_t *x, const int8_t *weight, size_t in, size_t first,
            size_t pairs)
{
    int32x4_t sums[PAIRS][PAIRS]; /* row, output: even even, even odd, odd even, odd odd */
    int32_t rows[STRIP][STRIP];

    EE_UNROLL
    for (size_t r = 0; r < pairs; r++) {
        EE_UNROLL
        for (size_t o = 0; o < PAIRS; o++) {
            sums[r][o] = vdupq_n_s32(0);
        }
    }
    x += first * 16;
    EE_UNROLL_BY(2)
    for (size_t i = 0; i < in; i += STEP) {
        int8x16_t w[PAIRS];

        EE_UNROLL
        for (size_t o = 0; o < PAIRS; o++) {
            w[o] = vld1q_s8(weight + o * 16);
        }
        EE_UNROLL
        for (size_t r = 0; r < pairs; r++) {
            const int8x16_t v = vld1q_s8(x + r * 16);

            EE_UNROLL
            for (size_t o = 0; o < PAIRS; o++) {
                sums[r][o] = vmmlaq_s32(sums[r][o], v, w[o]);
            }
        }
        x += PAIRS * 16;
        weight += PAIRS * 16;
    }
    EE_UNROLL
    for (size_t r = 0; r < pairs; r++) {
        EE_UNROLL
        for (size_t o = 0; o < PAIRS; o += 2) {
            const int64x2_t left = vreinterpretq_s64_s32(sums[r][o]);
            const int64x2_t right = vreinterpretq_s64_s32(sums[r][o + 1]);

            vst1q_s32(rows[2 * r] + 2 * o, vreinterpretq_s32_s64(vzip1q_s64(left, right)));
            vst1q_s32(rows[2 * r + 1] + 2 * o, vreinterpretq_s32_s64(vzip2q_s64(left, right)));
        }
    }
    put_sums(to, rows[0], 2 * first, ee_size_min(2 * pairs, to->rows - 2 * first));
}

/* One block of `in`: a panel of weights for all rows, then the next. */
static void linear_block(const target *whole, const int8_t *q, const int8_t *weight, size_t in,
                         size_t q_stride, size_t weight_stride)
{
    int8_t panel[PANEL_STRIPS][STRIP_BYTES], x[STRIP_BYTES];

    for (size_t begin = 0; begin < whole->outs; begin += PANEL_STRIPS * STRIP) {
        const size_t end = ee_size_min(whole->outs, begin + PANEL_STRIPS * STRIP);

        for (size_t o = begin; o < end; o += STRIP) {
            pack_strip(panel[(o - begin) / STRIP], weight + o * weight_stride,
                       ee_size_min(end - o, STRIP), in, weight_stride);
        }
        for (size_t t = 0; t < whole->rows; t += STRIP) {
            const size_t rows = ee_size_min(whole->rows - t, STRIP);

            pack_strip(x, q + t * q_stride, rows, in, q_stride);
            for (size_t o = begin; o < end; o += STRIP) {
                const int8_t *const w = panel[(o - begin) / STRIP];
                target tile = *whole;

                tile.out += t * whole->out_stride + o;
                tile.scale += t;
                tile.weight_scale += o;
                tile.bias = whole->bias ? whole->bias + o : NULL;
                tile.rows = rows;
                tile.outs = ee_size_min(end - o, STRIP);
                if (rows == STRIP) {
                    linear_tile(&tile, x, w, in, 0, PAIRS);
                } else {
                    for (size_t pair = 0; 2 * pair < rows; pair++) {
                        linear_tile(&tile, x, w, in, pair, 1);
                    }
                }
            }
        }
    }
}

void ee_linear_qs8_i8mm(float *out, const int8_t *q, const float *scale, const int8_t *weight,
                        const float *weight_scale, const float *bias,
                        size_t rows, size_t in, size_t outs,
                        size_t out_stride, size_t q_stride, size_t weight_stride)
{
    for (size_t i = 0; i < in; i += IN_BLOCK) {
        const target whole = {
            .out = out, .scale = scale, .weight_scale = weight_scale, .bias = bias,
            .rows = rows, .outs = outs, .out_stride = out_stride,
            .is_first = i == 0, .is_last = in - i <= IN_BLOCK,
        };

        linear_block(&whole, q + i, weight + i, ee_size_min(in - i, IN_BLOCK), q_stride,
                     weight_stride);
    }
}

EE_TARGET_END

#endif
