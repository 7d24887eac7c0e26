#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_AVX2

#include "../../common/ee_exact_avx2.h"

EE_TARGET_BEGIN("avx2")

/* Every sum has its eight lanes in one vector: 4 x 2 sums hide the latency of the additions, and
 * four rows share the conversion of the weights. */
enum { TILE_ROWS = 4, TILE_OUTS = 2 };

/* Eight weights as floats; rows are padded to 16, and what lies behind the last one is multiplied
 * by lanes of x that are +0: a zero of some sign, which changes no sum. */
static inline __m256 load_weights(const int8_t *weight)
{
    const __m128i bytes = _mm_loadl_epi64((const __m128i *)(const void *)weight);

    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes));
}

/* TILE_ROWS x TILE_OUTS outputs, of which rows x outs exist; the others are computed of the last
 * one that does and not written. */
static void conv_tile(float *out, const float *x, const int8_t *weight, const float *weight_scale,
                      const float *bias, size_t rows, size_t window, size_t outs,
                      size_t out_stride, size_t x_stride, size_t weight_stride)
{
    __m256 sums[TILE_ROWS][TILE_OUTS];
    const float *xs[TILE_ROWS];
    const int8_t *const weight1 = weight + (outs > 1 ? weight_stride : 0);

    for (size_t r = 0; r < TILE_ROWS; r++) {
        xs[r] = x + (r < rows ? r : rows - 1) * x_stride;
        sums[r][0] = sums[r][1] = _mm256_setzero_ps();
    }
    size_t i = 0;
    for (; window - i >= 8; i += 8) {
        const __m256 w0 = load_weights(weight + i);
        const __m256 w1 = load_weights(weight1 + i);
        for (size_t r = 0; r < TILE_ROWS; r++) {
            const __m256 v = _mm256_loadu_ps(xs[r] + i);
            sums[r][0] = _mm256_add_ps(sums[r][0], _mm256_mul_ps(v, w0));
            sums[r][1] = _mm256_add_ps(sums[r][1], _mm256_mul_ps(v, w1));
        }
    }
    if (i < window) {
        const __m256 w0 = load_weights(weight + i);
        const __m256 w1 = load_weights(weight1 + i);
        for (size_t r = 0; r < TILE_ROWS; r++) {
            const __m256 v = ee_exact_load(xs[r] + i, window - i);
            sums[r][0] = _mm256_add_ps(sums[r][0], _mm256_mul_ps(v, w0));
            sums[r][1] = _mm256_add_ps(sums[r][1], _mm256_mul_ps(v, w1));
        }
    }
    for (size_t r = 0; r < rows; r++) {
        for (size_t o = 0; o < outs; o++) {
            out[r * out_stride + o] = ee_exact_sum(sums[r][o]) * weight_scale[o] + bias[o];
        }
    }
}

void ee_stem_conv_qs8_avx2(float *out, const float *x, const int8_t *weight,
                           const float *weight_scale, const float *bias, size_t frames,
                           size_t channels, size_t outs, size_t kernel, size_t stride)
{
    const size_t window = kernel * channels;
    const size_t weight_stride = ee_row_stride_qs8(window);
    const size_t x_stride = stride * channels;
    const size_t rows = ee_stem_conv_f32_frames(frames, kernel, stride);

    for (size_t t = 0; t < rows; t += TILE_ROWS) {
        for (size_t o = 0; o < outs; o += TILE_OUTS) {
            conv_tile(out + t * outs + o, x + t * x_stride, weight + o * weight_stride,
                      weight_scale + o, bias + o, ee_size_min(rows - t, TILE_ROWS), window,
                      ee_size_min(outs - o, TILE_OUTS), outs, x_stride, weight_stride);
        }
    }
}

EE_TARGET_END

#endif
