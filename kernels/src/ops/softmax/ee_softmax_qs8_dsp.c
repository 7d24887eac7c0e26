#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_DSP

#include <string.h>

#include "../../common/ee_exact_dsp.h"

enum { LANES = 8 };

/* exp(x), x <= 0 */
static inline float exp_below(float x)
{
    const int is_far = ee_magnitude_bits(x) > ee_magnitude_bits(87.0f);

    return ee_exp_in_range(is_far ? -87.0f : x);
}

/* The first `count` values of a group of eight become exp(x - max) value_scale, whose largest is
 * known by its bits, as none is negative; the exponentials are added to the lanes. */
static inline __attribute__((always_inline)) uint32_t
weigh(float *x, const float *value_scale, size_t count, float max, float lanes[LANES], uint32_t top)
{
    EE_UNROLL
    for (size_t l = 0; l < LANES; l++) {
        if (l < count) {
            const float e = exp_below(x[l] - max);
            const float weight = e * value_scale[l];
            const uint32_t bits = ee_float_bits(weight);

            lanes[l] += e;
            x[l] = weight;
            top = bits > top ? bits : top;
        }
    }
    return top;
}

void ee_softmax_qs8_dsp(int8_t *high, int8_t *low, float *scale, float *x,
                        const float *value_scale, size_t rows, size_t dim, size_t q_stride)
{
    const size_t padded = ee_row_stride_qs8(dim);
    const size_t whole = dim - dim % LANES;

    for (size_t t = 0; t < rows; t++, high += q_stride, low += q_stride, x += dim) {
        const float max = ee_max(x, dim);
        float lanes[LANES] = {0.0f};
        uint32_t bits = 0;

        for (size_t d = 0; d < whole; d += LANES) {
            bits = weigh(x + d, value_scale + d, LANES, max, lanes, bits);
        }
        bits = weigh(x + whole, value_scale + whole, dim - whole, max, lanes, bits);
        const float top = ee_bits_float(bits);
        const float gain = ee_probability_gain(top);

        EE_UNROLL_BY(4)
        for (size_t d = 0; d < dim; d++) {
            /* The integer is in the low 14 bits. */
            const uint32_t p = ee_float_bits(ee_shifted(x[d] * gain));
            high[d] = (int8_t)(p >> 7 & 127);
            low[d] = (int8_t)(p & 127);
        }
        for (size_t d = dim; d < padded; d++) {
            high[d] = low[d] = 0;
        }
        scale[t] = ee_probability_scale(top, ee_sum_lanes(lanes));
    }
}

#endif
