#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_SIMD128

#include "../../common/ee_exact_simd128.h"

enum { GROUP = 16 };

/* A row: its maximum, the exponentials added in lanes, the largest weight in lanes. */
typedef struct {
    float max;
    ee_lanes8 sum;
    ee_vec top;
} weighing;

/* Up to 8 of `count` values become exp(x - max) value_scale. */
static inline __attribute__((always_inline)) void
weigh(weighing *w, float *x, const float *value_scale, size_t count)
{
    const ee_lanes8 below = ee_exact_sub(ee_exact_load(x, count), w->max);
    const ee_lanes8 e = ee_exact_keep(ee_exact_exp(below), count);
    const ee_lanes8 weight = ee_exact_mul(e, ee_exact_load(value_scale, count));

    w->sum = ee_exact_add(w->sum, e);
    w->top = ee_larger(w->top, ee_larger(weight.low, weight.high));
    ee_exact_store(x, weight, count);
}

/* Both digits of up to 16 of `count` weights, zeros behind them. */
static inline __attribute__((always_inline)) void
store_digits(int8_t *high, int8_t *low, const float *x, size_t count, float gain)
{
    ee_ints p[4], highs[4];

    EE_UNROLL
    for (size_t i = 0; i < 4; i++) {
        p[i] = ee_exact_round(x + 4 * i, count > 4 * i ? count - 4 * i : 0, gain);
        highs[i] = p[i] >> 7;
        p[i] = p[i] & 127;
    }
    ee_exact_store_bytes(high, highs);
    ee_exact_store_bytes(low, p);
}

void ee_softmax_qs8_simd128(int8_t *high, int8_t *low, float *scale, float *x,
                            const float *value_scale, size_t rows, size_t dim, size_t q_stride)
{
    const size_t whole = dim - dim % 8, groups = dim - dim % GROUP;
    const ee_vec zeros = ee_set(0.0f);

    for (size_t t = 0; t < rows; t++, high += q_stride, low += q_stride) {
        float *const row = x + t * dim;
        weighing w = {ee_exact_max(row, dim), {zeros, zeros}, zeros};

        for (size_t d = 0; d < whole; d += 8) {
            weigh(&w, row + d, value_scale + d, 8);
        }
        if (whole < dim) {
            weigh(&w, row + whole, value_scale + whole, dim - whole);
        }
        const float top = ee_largest_lane(w.top);
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
