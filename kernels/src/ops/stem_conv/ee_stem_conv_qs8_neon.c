#include <string.h>

#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_NEON

#include <arm_neon.h>

#include "../../common/ee_qs8.h"
#include "../../common/ee_target.h"

/* Every sum has its eight lanes in two vectors; four rows share the conversion of the weights. No
 * fused multiply-add: product and sum are rounded one after the other (docs/numerics.md). */
enum { TILE_ROWS = 4, LANES = 8 };

typedef struct {
    float32x4_t low, high;
} lanes8;

/* The tree of SUM: lanes 4 apart, then 2, then 1. */
static inline float sum_lanes(lanes8 lanes)
{
    const float32x4_t four = vaddq_f32(lanes.low, lanes.high);
    const float32x2_t two = vadd_f32(vget_low_f32(four), vget_high_f32(four));

    return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
}

static inline void add_group(lanes8 sums[TILE_ROWS], const float *const x[TILE_ROWS],
                             const int8_t *weight)
{
    const int16x8_t wide = vmovl_s8(vld1_s8(weight));
    const float32x4_t low = vcvtq_f32_s32(vmovl_s16(vget_low_s16(wide)));
    const float32x4_t high = vcvtq_f32_s32(vmovl_s16(vget_high_s16(wide)));

    EE_UNROLL
    for (size_t r = 0; r < TILE_ROWS; r++) {
        sums[r].low = vaddq_f32(sums[r].low, vmulq_f32(vld1q_f32(x[r]), low));
        sums[r].high = vaddq_f32(sums[r].high, vmulq_f32(vld1q_f32(x[r] + 4), high));
    }
}

/* One output of TILE_ROWS rows, of which `rows` exist: the last one stands for the others. */
static void conv_tile(float *out, const float *x, const int8_t *weight, float weight_scale,
                      float bias, size_t rows, size_t window, size_t out_stride, size_t x_stride)
{
    const size_t whole = window - window % LANES;
    const float *xs[TILE_ROWS];
    lanes8 sums[TILE_ROWS];

    EE_UNROLL
    for (size_t r = 0; r < TILE_ROWS; r++) {
        xs[r] = x + ee_size_min(r, rows - 1) * x_stride;
        sums[r].low = sums[r].high = vdupq_n_f32(0.0f);
    }
    for (size_t i = 0; i < whole; i += LANES) {
        add_group(sums, xs, weight + i);
        EE_UNROLL
        for (size_t r = 0; r < TILE_ROWS; r++) {
            xs[r] += LANES;
        }
    }
    if (whole < window) {
        /* Rows of weights are padded; those of x are filled up with zeros, which change no sum. */
        float filled[TILE_ROWS][LANES] = {{0.0f}};
        EE_UNROLL
        for (size_t r = 0; r < TILE_ROWS; r++) {
            memcpy(filled[r], xs[r], (window - whole) * sizeof(float));
            xs[r] = filled[r];
        }
        add_group(sums, xs, weight + whole);
    }
    for (size_t r = 0; r < rows; r++) {
        out[r * out_stride] = sum_lanes(sums[r]) * weight_scale + bias;
    }
}

void ee_stem_conv_qs8_neon(float *out, const float *x, const int8_t *weight,
                           const float *weight_scale, const float *bias, size_t frames,
                           size_t channels, size_t outs, size_t kernel, size_t stride)
{
    const size_t window = kernel * channels;
    const size_t weight_stride = ee_row_stride_qs8(window);
    const size_t x_stride = stride * channels;
    const size_t rows = ee_stem_conv_f32_frames(frames, kernel, stride);

    for (size_t o = 0; o < outs; o++) {
        for (size_t t = 0; t < rows; t += TILE_ROWS) {
            conv_tile(out + t * outs + o, x + t * x_stride, weight + o * weight_stride,
                      weight_scale[o], bias[o], ee_size_min(rows - t, TILE_ROWS), window, outs,
                      x_stride);
        }
    }
}

#endif
