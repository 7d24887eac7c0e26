#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_MVE_FLOATS

#include <math.h>

#include "../../common/ee_exact_mve.h"

static inline float32x4_t centre(float32x4_t x, float mean)
{
    return ee_mve_flush(vsubq_n_f32(x, mean));
}

static inline float32x4_t square(float32x4_t x)
{
    return vmulq_f32(x, x);
}

/* The squares of the first 4 of `count` centred values, +0 where there are fewer. */
static inline float32x4_t last_squares(const float *x, size_t count, float mean)
{
    const float32x4_t squares = square(centre(ee_mve_load(x, count), mean));

    return count >= 4 ? squares
                      : vpselq_f32(squares, vdupq_n_f32(0.0f), vctp32q((uint32_t)count));
}

static inline float32x4_t normal(float32x4_t x, float32x4_t weight, float32x4_t bias, float mean,
                                 float inverse)
{
    const float32x4_t scaled = vmulq_n_f32(centre(x, mean), inverse);

    return vaddq_f32(ee_mve_flush(vmulq_f32(scaled, weight)), bias);
}

void ee_layer_norm_exact_mve(float *out, const float *x, const float *weight, const float *bias,
                             size_t rows, size_t dim, float eps)
{
    const float one_over_dim = 1.0f / (float)dim;
    const size_t whole = dim - dim % 8, left = dim % 8;

    for (size_t t = 0; t < rows; t++, out += dim, x += dim) {
        ee_lanes8 lanes = ee_mve_no_sum();

        for (size_t d = 0; d < whole; d += 8) {
            lanes.low = vaddq_f32(lanes.low, vld1q_f32(x + d));
            lanes.high = vaddq_f32(lanes.high, vld1q_f32(x + d + 4));
        }
        if (left > 0) {
            lanes.low = vaddq_f32(lanes.low, ee_mve_load(x + whole, left));
        }
        if (left > 4) {
            lanes.high = vaddq_f32(lanes.high, ee_mve_load(x + whole + 4, left - 4));
        }
        const float mean = ee_mve_sum(lanes) * one_over_dim;

        lanes = ee_mve_no_sum();
        for (size_t d = 0; d < whole; d += 8) {
            lanes.low = vaddq_f32(lanes.low, square(centre(vld1q_f32(x + d), mean)));
            lanes.high = vaddq_f32(lanes.high, square(centre(vld1q_f32(x + d + 4), mean)));
        }
        if (left > 0) {
            lanes.low = vaddq_f32(lanes.low, last_squares(x + whole, left, mean));
        }
        if (left > 4) {
            lanes.high = vaddq_f32(lanes.high, last_squares(x + whole + 4, left - 4, mean));
        }
        const float variance = ee_mve_sum(lanes) * one_over_dim;
        const float inverse = 1.0f / sqrtf(variance + eps);

        size_t d = 0;
        for (; d + 4 <= dim; d += 4) {
            vst1q_f32(out + d, normal(vld1q_f32(x + d), vld1q_f32(weight + d),
                                      vld1q_f32(bias + d), mean, inverse));
        }
        if (d < dim) {
            const size_t count = dim - d;
            ee_mve_store(out + d, normal(ee_mve_load(x + d, count), ee_mve_load(weight + d, count),
                                         ee_mve_load(bias + d, count), mean, inverse), count);
        }
    }
}

#endif
