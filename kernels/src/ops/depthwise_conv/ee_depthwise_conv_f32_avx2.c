#include "ee_kernels.h"

#ifdef EE_HAVE_AVX2

#include "../../ee_avx2.h"

EE_TARGET_BEGIN("avx2,fma")

enum { TILE_ROWS = 8 };

/* `tile` output rows of 8 channels (those in the mask): out[i] = bias + sum_j weight[j] * x[i + j].
 * Rows side by side share the weights and hide the latency of the additions. `tile` is a constant
 * where this is called, so that the sums stay in registers. */
static inline __attribute__((always_inline)) void
conv_tile(float *out, const float *x, const float *weight, __m256 bias, __m256i mask,
          size_t tile, size_t dim, size_t taps, size_t weight_stride)
{
    __m256 sums[TILE_ROWS];

    for (size_t i = 0; i < tile; i++) {
        sums[i] = bias;
    }
    for (size_t j = 0; j < taps; j++) {
        const __m256 w = _mm256_maskload_ps(weight + j * weight_stride, mask);
        for (size_t i = 0; i < tile; i++) {
            sums[i] = _mm256_fmadd_ps(w, _mm256_maskload_ps(x + (i + j) * dim, mask), sums[i]);
        }
    }
    for (size_t i = 0; i < tile; i++) {
        _mm256_maskstore_ps(out + i * dim, mask, sums[i]);
    }
}

void ee_depthwise_conv_f32_avx2(float *out, const float *x, const float *weight, const float *bias,
                                size_t frames, size_t first, size_t count, size_t dim,
                                size_t kernel, size_t weight_stride)
{
    const size_t half = kernel / 2;
    const size_t end = first + count;

    for (size_t d = 0; d < dim; d += 8) {
        const __m256i mask = ee_avx2_mask(dim - d < 8 ? dim - d : 8);
        const __m256 b = _mm256_maskload_ps(bias + d, mask);

        for (size_t t = first; t < end;) {
            if (t >= half && t + TILE_ROWS <= end && t + TILE_ROWS + half <= frames) {
                conv_tile(out + t * dim + d, x + (t - half) * dim + d, weight + d, b, mask,
                          TILE_ROWS, dim, kernel, weight_stride);
                t += TILE_ROWS;
            } else {
                /* Taps skipped..last-1 fall on frames that exist. */
                const size_t skipped = t < half ? half - t : 0;
                const size_t last = frames + half - t < kernel ? frames + half - t : kernel;

                conv_tile(out + t * dim + d, x + (t + skipped - half) * dim + d,
                          weight + skipped * weight_stride + d, b, mask, 1, dim, last - skipped,
                          weight_stride);
                t += 1;
            }
        }
    }
}

EE_TARGET_END

#endif
