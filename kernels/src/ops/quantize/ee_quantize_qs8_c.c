#include <string.h>

#include "../../common/ee_exact.h"
#include "../../common/ee_qs8.h"

void ee_quantize_qs8_c(int8_t *q, float *scale, const float *x, size_t rows, size_t in,
                       size_t q_stride, size_t x_stride)
{
    for (size_t t = 0; t < rows; t++) {
        const float *row = x + t * x_stride;
        int8_t *const to = q + t * q_stride;
        const float max = ee_largest_magnitude(row, in);

        memset(to, 0, ee_row_stride_qs8(in));
        if (max < EE_SMALLEST_MAX) {
            scale[t] = 0.0f;
            continue;
        }
        scale[t] = max / 127.0f;

        const float inverse = 127.0f / max;
        for (size_t i = 0; i < in; i++) {
            to[i] = (int8_t)ee_round_int(row[i] * inverse);
        }
    }
}
