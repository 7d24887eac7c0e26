#include <math.h>

#include "ee_kernels.h"

#ifdef EE_HAVE_NEON

#include "../../ee_neon.h"

void ee_layer_norm_f32_neon(float *out, const float *x, const float *weight, const float *bias,
                            size_t rows, size_t dim, float eps)
{
    for (size_t t = 0; t < rows; t++, out += dim, x += dim) {
        float32x4_t sum = vdupq_n_f32(0.0f);
        for (size_t d = 0; d < dim; d += 4) {
            sum = vaddq_f32(sum, ee_neon_load(x + d, dim - d, 0.0f));
        }
        const float mean = vaddvq_f32(sum) / (float)dim;

        /* Lanes beyond the row are filled with the mean: centred they are 0. */
        float32x4_t squares = vdupq_n_f32(0.0f);
        for (size_t d = 0; d < dim; d += 4) {
            const float32x4_t v = ee_neon_load(x + d, dim - d, mean);
            const float32x4_t centred = vsubq_f32(v, vdupq_n_f32(mean));
            squares = vfmaq_f32(squares, centred, centred);
        }
        const float scale = 1.0f / sqrtf(vaddvq_f32(squares) / (float)dim + eps);

        for (size_t d = 0; d < dim; d += 4) {
            const size_t left = dim - d;
            const float32x4_t v = ee_neon_load(x + d, left, 0.0f);
            const float32x4_t centred = vsubq_f32(v, vdupq_n_f32(mean));
            const float32x4_t y = vfmaq_f32(ee_neon_load(bias + d, left, 0.0f),
                                            vmulq_n_f32(centred, scale),
                                            ee_neon_load(weight + d, left, 0.0f));
            ee_neon_store(out + d, y, left);
        }
    }
}

#endif
