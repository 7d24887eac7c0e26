#include <string.h>

#include "../../ee_exact.h"
#include "../../ee_qs8.h"

void ee_softmax_qs8_c(int8_t *high, int8_t *low, float *inverse, const float *x,
                      size_t rows, size_t dim, size_t q_stride)
{
    const size_t padded = ee_row_stride_qs8(dim);

    for (size_t t = 0; t < rows; t++) {
        const float *row = x + t * dim;
        int8_t *const digits[2] = {high + t * q_stride, low + t * q_stride};
        const float max = ee_max(row, dim);
        /* Unsigned: where x is not finite the bytes are unspecified, and the program goes on. */
        uint32_t sum = 0;

        memset(digits[0], 0, padded);
        memset(digits[1], 0, padded);
        for (size_t d = 0; d < dim; d++) {
            const int32_t p = ee_round_int(ee_exp(row[d] - max) * EE_TOP_PROBABILITY);
            digits[0][d] = (int8_t)(p / 128);
            digits[1][d] = (int8_t)(p % 128);
            sum += (uint32_t)p;
        }
        inverse[t] = 1.0f / (float)sum;
    }
}
