#include <math.h>

#include "ee_kernels.h"

#ifdef EE_HAVE_NEON

#include "../../common/ee_neon.h"

/* One vector of the result: 4 values, or `count`. */
static inline void normalise(float *out, const float *x, const float *weight, const float *bias,
                             size_t count, float mean, float scale)
{
    const float32x4_t centred = vsubq_f32(ee_neon_load(x, count, 0.0f), vdupq_n_f32(mean));

    ee_neon_store(out, vfmaq_f32(ee_neon_load(bias, count, 0.0f), vmulq_n_f32(centred, scale),
                                 ee_neon_load(weight, count, 0.0f)), count);
}

void ee_layer_norm_f32_neon(float *out, const float *x, const float *weight, const float *bias,
                            size_t rows, size_t dim, float eps)
{
    const size_t whole = dim - dim % 4, left = dim % 4;

    for (size_t t = 0; t < rows; t++, out += dim, x += dim) {
        float32x4_t sum = ee_neon_load(x + whole, left, 0.0f);
        for (size_t d = 0; d < whole; d += 4) {
            sum = vaddq_f32(sum, vld1q_f32(x + d));
        }
        const float mean = vaddvq_f32(sum) / (float)dim;

        /* Lanes beyond the row are filled with the mean: centred they are 0. */
        const float32x4_t last = vsubq_f32(ee_neon_load(x + whole, left, mean), vdupq_n_f32(mean));
        float32x4_t squares = vmulq_f32(last, last);
        for (size_t d = 0; d < whole; d += 4) {
            const float32x4_t centred = vsubq_f32(vld1q_f32(x + d), vdupq_n_f32(mean));
            squares = vfmaq_f32(squares, centred, centred);
        }
        const float scale = 1.0f / sqrtf(vaddvq_f32(squares) / (float)dim + eps);

        for (size_t d = 0; d < whole; d += 4) {
            normalise(out + d, x + d, weight + d, bias + d, 4, mean, scale);
        }
        normalise(out + whole, x + whole, weight + whole, bias + whole, left, mean, scale);
    }
}

#endif
