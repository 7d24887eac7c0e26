#include <math.h>

#include "ee_kernels.h"

/* The maximum is subtracted so that no exponential overflows and the logarithm is of at least 1. */
void ee_log_softmax_f32_c(float *out, const float *x, size_t rows, size_t dim)
{
    for (size_t t = 0; t < rows; t++) {
        const float *row = x + t * dim;

        float max = row[0];
        for (size_t d = 1; d < dim; d++) {
            max = row[d] > max ? row[d] : max;
        }
        float sum = 0.0f;
        for (size_t d = 0; d < dim; d++) {
            sum += expf(row[d] - max);
        }
        const float log_sum = logf(sum);
        for (size_t d = 0; d < dim; d++) {
            out[t * dim + d] = row[d] - max - log_sum;
        }
    }
}
