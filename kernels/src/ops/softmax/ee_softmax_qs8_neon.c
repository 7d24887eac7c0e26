#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_NEON

#include "../../common/ee_exact_neon.h"
#include "../../common/ee_target.h"

enum { GROUP = 16 };

/* A row: its maximum, the exponentials added in lanes, the largest weight in lanes. */
typedef struct {
    float max;
    ee_lanes8 sum;
    float32x4_t top;
} weighing;

/* Up to 8 of `count` values become exp(x - max) value_scale. */
static inline __attribute__((always_inline)) void
weigh(weighing *w, float *x, const float *value_scale, size_t count)
{
    const ee_lanes8 below = ee_exact_sub(ee_exact_load(x, count), w->max);
    const ee_lanes8 e = ee_exact_keep(ee_exact_exp(below), count);
    const ee_lanes8 weight = ee_exact_mul(e, ee_exact_load(value_scale, count));
    w->sum = ee_exact_add(w->sum, e);
    w->top = vmaxq_f32(w->top, vmaxq_f32(weight.low, weight.high));
    ee_exact_store(x, weight, count);
}

/* Both digits of up to 16 of `count` weights, zeros behind them. */
static inline __attribute__((always_inline)) void
store_digits(int8_t *high, int8_t *low, const float *x, size_t count, float gain)
{
    int32x4_t p[4], highs[4];

    EE_UNROLL
    for (size_t i = 0; i < 4; i++) {
        p[i] = vdupq_n_s32(0);
        if (count > 4 * i) {
            const float32x4_t weight = ee_neon_load(x + 4 * i, count - 4 * i, 0.0f);
            p[i] = vcvtnq_s32_f32(vmulq_n_f32(weight, gain)); /* rounds to even */
        }
        highs[i] = vshrq_n_s32(p[i], 7);
    }
    /* The low digit is the lowest byte without its highest bit. */
    vst1q_s8(high, ee_exact_pack(highs));
    vst1q_s8(low, vandq_s8(ee_exact_pack(p), vdupq_n_s8(127)));
}

void ee_softmax_qs8_neon(int8_t *high, int8_t *low, float *scale, float *x,
                         const float *value_scale, size_t rows, size_t dim, size_t q_stride)
{
    const size_t whole = dim - dim % 8, groups = dim - dim % GROUP;
    const float32x4_t zeros = vdupq_n_f32(0.0f);

    for (size_t t = 0; t < rows; t++, high += q_stride, low += q_stride) {
        float *const row = x + t * dim;
        weighing w = {ee_exact_max(row, dim), {zeros, zeros}, zeros};

        for (size_t d = 0; d < whole; d += 8) {
            weigh(&w, row + d, value_scale + d, 8);
        }
        if (whole < dim) {
            weigh(&w, row + whole, value_scale + whole, dim - whole);
        }
        const float top = vmaxvq_f32(w.top);
        const float gain = ee_probability_gain(top);
        for (size_t d = 0; d < groups; d += GROUP) {
            store_digits(high + d, low + d, row + d, GROUP, gain);
        }
        if (groups < dim) {
            store_digits(high + groups, low + groups, row + groups, dim - groups, gain);
        }
        scale[t] = ee_probability_scale(top, ee_exact_sum(w.sum));
    }
}

#endif
