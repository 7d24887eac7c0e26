#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_MVE_FLOATS

#include "../../common/ee_exact_mve.h"

/* Both digits of x * gain; the low one is the lowest byte without its highest bit. */
static inline void store_digits(int8_t *high, int8_t *low, float32x4_t x, float gain)
{
    const int32x4_t p = vcvtnq_s32_f32(vmulq_n_f32(x, gain)); /* rounds to even */

    vstrbq_s32(high, vshrq_n_s32(p, 7));
    vstrbq_s32(low, vandq_s32(p, vdupq_n_s32(127)));
}

/* x becomes exp(x - MAX(x)) value_scale; *top is the largest of these. Returns the sum of the
 * exponentials. */
static inline float weigh(float *x, const float *value_scale, size_t dim, float *top)
{
    const float max = ee_mve_max(x, dim);
    const size_t whole = dim - dim % 8;
    ee_lanes8 lanes = ee_mve_no_sum();
    float32x4_t largest = vdupq_n_f32(0.0f);

    for (size_t d = 0; d < whole; d += 8) {
        EE_UNROLL
        for (size_t i = 0; i < 8; i += 4) {
            const float32x4_t e = ee_mve_exp(vsubq_n_f32(vld1q_f32(x + d + i), max));
            const float32x4_t weight = vmulq_f32(e, vld1q_f32(value_scale + d + i));
            float32x4_t *const sum = i == 0 ? &lanes.low : &lanes.high;

            *sum = vaddq_f32(*sum, e);
            largest = vmaxnmq_f32(largest, weight);
            vst1q_f32(x + d + i, weight);
        }
    }
    for (size_t d = whole; d < dim; d += 4) {
        const size_t count = dim - d;
        const mve_pred16_t there = vctp32q((uint32_t)count);
        const float32x4_t e = ee_mve_exp(vsubq_n_f32(vld1q_z_f32(x + d, there), max));
        const float32x4_t weight = vmulq_f32(e, vld1q_z_f32(value_scale + d, there));
        float32x4_t *const sum = d == whole ? &lanes.low : &lanes.high;

        *sum = vaddq_m_f32(*sum, *sum, e, there);
        largest = vmaxnmq_f32(largest, weight);
        vst1q_p_f32(x + d, weight, there);
    }
    *top = vmaxnmvq_f32(0.0f, largest);
    return ee_mve_sum(lanes);
}

void ee_softmax_qs8_mve(int8_t *high, int8_t *low, float *scale, float *x,
                        const float *value_scale, size_t rows, size_t dim, size_t q_stride)
{
    const size_t padded = ee_row_stride_qs8(dim);

    for (size_t t = 0; t < rows; t++, high += q_stride, low += q_stride, x += dim) {
        float top;
        const float sum = weigh(x, value_scale, dim, &top);
        const float gain = ee_probability_gain(top);
        size_t d = 0;

        for (; d + 4 <= dim; d += 4) {
            store_digits(high + d, low + d, vld1q_f32(x + d), gain);
        }
        /* The last values have zeros behind them in their vector. */
        for (; d < padded; d += 4) {
            const float32x4_t v
                = d < dim ? ee_mve_load(x + d, dim - d) : vdupq_n_f32(0.0f);
            store_digits(high + d, low + d, v, gain);
        }
        scale[t] = ee_probability_scale(top, sum);
    }
}

#endif
