#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_DSP

#include <math.h>

#include "../../common/ee_exact_dsp.h"

enum { LANES = 8 };

/* The first `count` values of a group of eight, centred; their squares are added to the lanes. */
static inline __attribute__((always_inline)) void
centre(float *out, const float *x, size_t count, float mean, float lanes[LANES])
{
    EE_UNROLL
    for (size_t l = 0; l < LANES; l++) {
        if (l < count) {
            const float centred = ee_flush(x[l] - mean);
            lanes[l] += centred * centred;
            out[l] = centred;
        }
    }
}

void ee_layer_norm_exact_dsp(float *out, const float *x, const float *weight, const float *bias,
                             size_t rows, size_t dim, float eps)
{
    const float one_over_dim = 1.0f / (float)dim;
    const size_t whole = dim - dim % LANES;

    /* Lanes that lie in registers: eight values a step. */
    for (size_t t = 0; t < rows; t++, out += dim, x += dim) {
        float lanes[LANES] = {0.0f};
        for (size_t d = 0; d < whole; d += LANES) {
            EE_UNROLL
            for (size_t l = 0; l < LANES; l++) {
                lanes[l] += x[d + l];
            }
        }
        EE_UNROLL
        for (size_t l = 0; l < LANES; l++) {
            lanes[l] += whole + l < dim ? x[whole + l] : 0.0f;
        }
        const float mean = ee_sum_lanes(lanes) * one_over_dim;

        EE_UNROLL
        for (size_t l = 0; l < LANES; l++) {
            lanes[l] = 0.0f;
        }
        for (size_t d = 0; d < whole; d += LANES) {
            centre(out + d, x + d, LANES, mean, lanes);
        }
        centre(out + whole, x + whole, dim - whole, mean, lanes);
        const float variance = ee_sum_lanes(lanes) * one_over_dim;
        const float inverse = 1.0f / sqrtf(variance + eps);

        EE_UNROLL_BY(4)
        for (size_t d = 0; d < dim; d++) {
            out[d] = ee_flush((out[d] * inverse) * weight[d]) + bias[d];
        }
    }
}

#endif
