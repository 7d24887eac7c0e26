#include <string.h>

#include "../../common/ee_exact.h"
#include "../../common/ee_qs8.h"

void ee_quantize_digits_qs8_c(int8_t *high, int8_t *low, float *scale, const float *x, size_t rows,
                              size_t in, size_t q_stride, size_t x_stride)
{
    const size_t padded = ee_row_stride_qs8(in);

    for (size_t t = 0; t < rows; t++, high += q_stride, low += q_stride) {
        const float *row = x + t * x_stride;
        const float max = ee_largest_magnitude(row, in);

        memset(high, 0, padded);
        memset(low, 0, padded);
        if (max < EE_SMALLEST_MAX) {
            scale[t] = 0.0f;
            continue;
        }
        scale[t] = max / EE_TOP_DIGITS;

        const float inverse = EE_TOP_DIGITS / max;
        for (size_t i = 0; i < in; i++) {
            const int32_t p = ee_round_int(row[i] * inverse);
            /* Rounded down: 128 * 128 keeps the dividend positive. */
            const int32_t digit = (p + 64 + 128 * 128) / 128 - 128;
            high[i] = (int8_t)digit;
            low[i] = (int8_t)(p - 128 * digit);
        }
    }
}
