#include "../../common/ee_exact.h"
#include "ee_kernels_qs8.h"

void ee_log_softmax_exact_c(float *out, const float *x, size_t rows, size_t dim)
{
    for (size_t t = 0; t < rows; t++) {
        const float *row = x + t * dim;
        const float max = ee_max(row, dim);

        float lanes[8] = {0.0f};
        for (size_t d = 0; d < dim; d++) {
            lanes[d % 8] += ee_exp(row[d] - max);
        }
        const float log_sum = ee_log(ee_sum_lanes(lanes));
        for (size_t d = 0; d < dim; d++) {
            out[t * dim + d] = (row[d] - max) - log_sum;
        }
    }
}
