#include <string.h>

#include "../../common/ee_exact.h"
#include "../../common/ee_qs8.h"

/* x becomes exp(x - MAX(x)) value_scale, the weight of each value row. Returns the sum of the
 * exponentials. */
static float weigh(float *x, const float *value_scale, size_t dim)
{
    const float max = ee_max(x, dim);
    float lanes[8] = {0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f};

    for (size_t d = 0; d < dim; d++) {
        const float e = ee_exp(x[d] - max);
        lanes[d % 8] += e;
        x[d] = e * value_scale[d];
    }
    return ee_sum_lanes(lanes);
}

void ee_softmax_qs8_c(int8_t *high, int8_t *low, float *scale, float *x, const float *value_scale,
                      size_t rows, size_t dim, size_t q_stride)
{
    const size_t padded = ee_row_stride_qs8(dim);

    for (size_t t = 0; t < rows; t++) {
        float *const row = x + t * dim;
        int8_t *const digits[2] = {high + t * q_stride, low + t * q_stride};
        const float sum = weigh(row, value_scale, dim);
        const float top = ee_max(row, dim);
        const float gain = ee_probability_gain(top);

        memset(digits[0], 0, padded);
        memset(digits[1], 0, padded);
        for (size_t d = 0; d < dim; d++) {
            const int32_t p = ee_round_int(row[d] * gain);
            digits[0][d] = (int8_t)(p / 128);
            digits[1][d] = (int8_t)(p % 128);
        }
        scale[t] = ee_probability_scale(top, sum);
    }
}
