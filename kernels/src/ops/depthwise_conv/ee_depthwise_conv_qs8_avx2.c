#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_AVX2

#include "../../ee_exact_avx2.h"

EE_TARGET_BEGIN("avx2")

enum { TILE_ROWS = 8 };

/* `tile` output rows of up to 8 of `count` channels: out[i] = bias + sum_j x[i + j] * weight[j],
 * the taps in order. Rows side by side share the weights and hide the latency of the additions.
 * `tile` is a constant where this is called, so that the sums stay in registers. */
static inline __attribute__((always_inline)) void
conv_tile(float *out, const float *x, const float *weight, const float *bias, size_t count,
          size_t tile, size_t dim, size_t taps, size_t weight_stride)
{
    __m256 sums[TILE_ROWS];

    for (size_t i = 0; i < tile; i++) {
        sums[i] = ee_exact_load(bias, count);
    }
    for (size_t j = 0; j < taps; j++) {
        const __m256 w = ee_exact_load(weight + j * weight_stride, count);
        for (size_t i = 0; i < tile; i++) {
            const __m256 v = ee_exact_load(x + (i + j) * dim, count);
            sums[i] = _mm256_add_ps(sums[i], _mm256_mul_ps(v, w));
        }
    }
    for (size_t i = 0; i < tile; i++) {
        ee_exact_store(out + i * dim, sums[i], count);
    }
}

void ee_depthwise_conv_qs8_avx2(float *out, const float *x, const float *weight, const float *bias,
                                size_t frames, size_t first, size_t count, size_t dim,
                                size_t kernel, size_t weight_stride)
{
    const size_t half = kernel / 2;
    const size_t end = first + count;

    for (size_t d = 0; d < dim; d += 8) {
        for (size_t t = first; t < end;) {
            const int is_inside = t >= half && t + TILE_ROWS <= end
                                  && t + TILE_ROWS + half <= frames;
            /* Taps skipped..last-1 fall on frames that exist. */
            const size_t skipped = t < half ? half - t : 0;
            const size_t last = frames + half - t < kernel ? frames + half - t : kernel;
            float *const to = out + t * dim + d;
            const float *const from = x + (t + skipped - half) * dim + d;
            const float *const w = weight + skipped * weight_stride + d;

            if (is_inside && dim - d >= 8) {
                conv_tile(to, from, w, bias + d, 8, TILE_ROWS, dim, kernel, weight_stride);
            } else if (is_inside) {
                conv_tile(to, from, w, bias + d, dim - d, TILE_ROWS, dim, kernel, weight_stride);
            } else {
                conv_tile(to, from, w, bias + d, dim - d, 1, dim, last - skipped, weight_stride);
            }
            t += is_inside ? TILE_ROWS : 1;
        }
    }
}

EE_TARGET_END

#endif
