/* ee_layer_norm_exact_lanes.h: the op over the eight lanes of ee_exact_<isa>.h, which is included
 * before this. */
#ifndef EE_LAYER_NORM_EXACT_LANES_H
#define EE_LAYER_NORM_EXACT_LANES_H

#include <math.h>

static inline ee_lanes8 centre(const float *x, size_t count, float mean)
{
    return ee_exact_flush(ee_exact_sub(ee_exact_load(x, count), mean));
}

/* Eight values of the result, or `count`. */
static inline void normalise(float *out, const float *x, const float *weight, const float *bias,
                             size_t count, float mean, float inverse)
{
    const ee_lanes8 normal = ee_exact_scale(centre(x, count, mean), inverse);
    const ee_lanes8 y = ee_exact_flush(ee_exact_mul(normal, ee_exact_load(weight, count)));

    ee_exact_store(out, ee_exact_add(y, ee_exact_load(bias, count)), count);
}

static inline void layer_norm_lanes(float *out, const float *x, const float *weight,
                                    const float *bias, size_t rows, size_t dim, float eps)
{
    const float one_over_dim = 1.0f / (float)dim;
    const ee_lanes8 zeros = ee_exact_load(x, 0);
    const size_t whole = dim - dim % 8, left = dim % 8;

    for (size_t t = 0; t < rows; t++, out += dim, x += dim) {
        ee_lanes8 lanes = zeros;
        for (size_t d = 0; d < whole; d += 8) {
            lanes = ee_exact_add(lanes, ee_exact_load(x + d, 8));
        }
        lanes = ee_exact_add(lanes, ee_exact_load(x + whole, left));
        const float mean = ee_exact_sum(lanes) * one_over_dim;

        lanes = zeros;
        for (size_t d = 0; d < whole; d += 8) {
            const ee_lanes8 centred = centre(x + d, 8, mean);
            lanes = ee_exact_add(lanes, ee_exact_mul(centred, centred));
        }
        const ee_lanes8 last = centre(x + whole, left, mean);
        lanes = ee_exact_add(lanes, ee_exact_keep(ee_exact_mul(last, last), left));
        const float variance = ee_exact_sum(lanes) * one_over_dim;
        const float inverse = 1.0f / sqrtf(variance + eps);

        for (size_t d = 0; d < whole; d += 8) {
            normalise(out + d, x + d, weight + d, bias + d, 8, mean, inverse);
        }
        normalise(out + whole, x + whole, weight + whole, bias + whole, left, mean, inverse);
    }
}

#endif
