#include <string.h>

#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_DSP

#include "../../common/ee_exact.h"
#include "../../common/ee_qs8.h"

/* Three rows at a time: their eight lanes each take 24 of the 32 registers of the floating-point
 * unit that these cores come with, and they share the conversion of the weights. */
enum { TILE_ROWS = 3, LANES = 8 };

/* lanes[r][j] += x[r][j] * weight[j] for the eight values of a group. */
static inline __attribute__((always_inline)) void
add_group(float lanes[TILE_ROWS][LANES], const float *const x[TILE_ROWS], const int8_t *weight)
{
#pragma GCC unroll 8
    for (size_t j = 0; j < LANES; j++) {
        const float w = (float)weight[j];
#pragma GCC unroll 3
        for (size_t r = 0; r < TILE_ROWS; r++) {
            lanes[r][j] += x[r][j] * w;
        }
    }
}

/* One output of TILE_ROWS rows, of which `rows` exist: the last one stands for the others. */
static void conv_tile(float *out, const float *x, const int8_t *weight, float weight_scale,
                      float bias, size_t rows, size_t window, size_t out_stride, size_t x_stride)
{
    const size_t whole = window - window % LANES;
    const float *const rest[TILE_ROWS] = {
        x, x + (rows > 1 ? x_stride : 0), x + (rows - 1) * x_stride,
    };
    const float *xs[TILE_ROWS] = {rest[0], rest[1], rest[2]};
    float lanes[TILE_ROWS][LANES] = {{0.0f}};
    float sums[TILE_ROWS];

    for (size_t i = 0; i < whole; i += LANES) {
        add_group(lanes, xs, weight + i);
        xs[0] += LANES;
        xs[1] += LANES;
        xs[2] += LANES;
    }
    if (whole < window) {
        /* Rows of weights are padded; those of x are filled up with zeros, which change no sum. */
        float filled[TILE_ROWS][LANES] = {{0.0f}};
        for (size_t r = 0; r < TILE_ROWS; r++) {
            memcpy(filled[r], rest[r] + whole, (window - whole) * sizeof(float));
            xs[r] = filled[r];
        }
        add_group(lanes, xs, weight + whole);
    }
    sums[0] = ee_sum_lanes(lanes[0]);
    sums[1] = ee_sum_lanes(lanes[1]);
    sums[2] = ee_sum_lanes(lanes[2]);
    for (size_t r = 0; r < rows; r++) {
        out[r * out_stride] = sums[r] * weight_scale + bias;
    }
}

void ee_stem_conv_qs8_dsp(float *out, const float *x, const int8_t *weight,
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
