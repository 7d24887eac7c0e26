#include "../common/ee_exact.h"
#include "ee.h"

uint32_t ee_exit_row_c(float *sum, const float *row, size_t vocab)
{
    float lanes[8] = {0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f};
    uint32_t label = 0;

    for (size_t v = 0; v < vocab; v++) {
        if (row[v] > -87.0f) {
            lanes[v % 8] += ee_exp(row[v]) * row[v];
        }
        if (row[v] > row[label]) {
            label = (uint32_t)v;
        }
    }
    *sum = ee_sum_lanes(lanes);
    return label;
}
