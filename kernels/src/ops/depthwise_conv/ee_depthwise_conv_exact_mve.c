#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_MVE_FLOATS

#include "../../common/ee_exact_mve.h"

/* Output rows side by side share the weights. */
enum { TILE_ROWS = 4 };

/* `tile` output rows of up to 4 of `count` channels: out[i] = bias + sum_j x[i + j] * weight[j],
 * the taps in order. `tile` is a constant where this is called, so that the sums stay in
 * registers. */
static inline __attribute__((always_inline)) void
conv_tile(float *out, const float *x, const float *weight, const float *bias, size_t count,
          size_t tile, size_t dim, size_t taps, size_t weight_stride)
{
    float32x4_t sums[TILE_ROWS];

    EE_UNROLL
    for (size_t i = 0; i < tile; i++) {
        sums[i] = ee_mve_load(bias, count);
    }
    for (; taps > 0; taps--, x += dim, weight += weight_stride) {
        const float32x4_t w = ee_mve_load(weight, count);
        EE_UNROLL
        for (size_t i = 0; i < tile; i++) {
            sums[i] = vaddq_f32(sums[i], vmulq_f32(ee_mve_load(x + i * dim, count), w));
        }
    }
    EE_UNROLL
    for (size_t i = 0; i < tile; i++) {
        ee_mve_store(out + i * dim, sums[i], count);
    }
}

void ee_depthwise_conv_exact_mve(float *out, const float *x, const float *weight,
                                 const float *bias, size_t rows, size_t before, size_t after,
                                 size_t dim, size_t kernel, size_t ahead, size_t weight_stride)
{
    const size_t frames = before + rows + after;
    const size_t behind = kernel - 1 - ahead;

    for (size_t d = 0; d < dim; d += 4) {
        for (size_t t = 0; t < rows;) {
            const size_t at = before + t;
            const int is_inside =
                at >= behind && t + TILE_ROWS <= rows && at + TILE_ROWS + ahead <= frames;
            /* Taps skipped..last-1 fall on frames that are there. */
            const size_t skipped = at < behind ? behind - at : 0;
            const size_t last = frames + behind - at < kernel ? frames + behind - at : kernel;
            float *const to = out + t * dim + d;
            const float *const from = x + (at + skipped - behind) * dim + d;
            const float *const w = weight + skipped * weight_stride + d;

            if (is_inside && dim - d >= 4) {
                conv_tile(to, from, w, bias + d, 4, TILE_ROWS, dim, kernel, weight_stride);
                t += TILE_ROWS;
            } else if (dim - d >= 4) {
                conv_tile(to, from, w, bias + d, 4, 1, dim, last - skipped, weight_stride);
                t++;
            } else {
                conv_tile(to, from, w, bias + d, dim - d, 1, dim, last - skipped, weight_stride);
                t++;
            }
        }
    }
}

#endif
