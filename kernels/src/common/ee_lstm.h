/* ee_lstm.h: what the LSTM of both arithmetics share: all but its products. */
#ifndef EE_LSTM_H
#define EE_LSTM_H

#include <string.h>

#include "ee_kernels.h"

/* The glu of either mode. */
typedef void ee_lstm_glu(float *out, const float *x, size_t rows, size_t dim);

/* Floats that a step uses: pairs (2, 2*width) for the glu, and what it gives (2, width). */
static inline size_t ee_lstm_step_floats(size_t width)
{
    return 6 * width;
}

/* out = tanh(x) = 2 / (1 + exp(-2 x)) - 1, `width` values. pairs: (2*width). */
static inline void ee_lstm_tanh(float *out, const float *x, float *pairs, size_t width,
                                ee_lstm_glu *glu)
{
    for (size_t d = 0; d < width; d++) {
        pairs[d] = 2.0f;
        pairs[width + d] = x[d] + x[d];
    }
    glu(out, pairs, 1, width);
    for (size_t d = 0; d < width; d++) {
        out[d] -= 1.0f;
    }
}

/* One frame: c = glu(c, f) + glu(tanh(g), i);  h = glu(tanh(c), o)
 * gates (4*width): i, f, g, o. h, c (width). */
static inline void ee_lstm_step(float *h, float *c, const float *gates, size_t width,
                                float *scratch, ee_lstm_glu *glu)
{
    const size_t bytes = width * sizeof(float);
    float *const pairs = scratch;
    float *const given = scratch + 4 * width;

    ee_lstm_tanh(given, gates + 2 * width, pairs, width, glu);
    memcpy(pairs, c, bytes);
    memcpy(pairs + width, gates + width, bytes);
    memcpy(pairs + 2 * width, given, bytes);
    memcpy(pairs + 3 * width, gates, bytes);
    glu(given, pairs, 2, width);
    for (size_t d = 0; d < width; d++) {
        c[d] = given[d] + given[width + d];
    }
    ee_lstm_tanh(given, c, pairs, width, glu);
    memcpy(pairs, given, bytes);
    memcpy(pairs + width, gates + 3 * width, bytes);
    glu(h, pairs, 1, width);
}

#endif
