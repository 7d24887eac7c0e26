#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_MVE_FLOATS

#include "../../common/ee_exact_mve.h"

/* exp(x - max) of the first 4 of `count` values, +0 where there are fewer. */
static inline float32x4_t last_exp(const float *x, size_t count, float max)
{
    const float32x4_t e = ee_mve_exp(vsubq_n_f32(ee_mve_load(x, count), max));

    return count >= 4 ? e : vpselq_f32(e, vdupq_n_f32(0.0f), vctp32q((uint32_t)count));
}

void ee_log_softmax_exact_mve(float *out, const float *x, size_t rows, size_t dim)
{
    const size_t whole = dim - dim % 8, left = dim % 8;

    for (size_t t = 0; t < rows; t++, out += dim, x += dim) {
        const float max = ee_mve_max(x, dim);
        ee_lanes8 lanes = ee_mve_no_sum();

        for (size_t d = 0; d < whole; d += 8) {
            lanes.low = vaddq_f32(lanes.low, ee_mve_exp(vsubq_n_f32(vld1q_f32(x + d), max)));
            lanes.high = vaddq_f32(lanes.high, ee_mve_exp(vsubq_n_f32(vld1q_f32(x + d + 4), max)));
        }
        if (left > 0) {
            lanes.low = vaddq_f32(lanes.low, last_exp(x + whole, left, max));
        }
        if (left > 4) {
            lanes.high = vaddq_f32(lanes.high, last_exp(x + whole + 4, left - 4, max));
        }
        const float log_sum = ee_log(ee_mve_sum(lanes));

        for (size_t d = 0; d < dim; d += 4) {
            const float32x4_t below = vsubq_n_f32(ee_mve_load(x + d, dim - d), max);
            ee_mve_store(out + d, vsubq_n_f32(below, log_sum), dim - d);
        }
    }
}

#endif
