#include <string.h>

#include "ee_kernels.h"

#ifdef EE_HAVE_AVX2

#include "../../ee_avx2.h"

/* Both x and the weights lie along `in`, so an output is the dot product of two runs of memory. A
 * tile of TILE_ROWS x TILE_OUTS outputs keeps 12 vectors of partial sums in registers: 7 loads feed
 * 12 multiply-adds, and 12 sums hide a latency of 4 cycles at two multiply-adds a cycle. With the
 * 3 vectors of x and one of the weights all 16 registers are in use.
 *
 * A panel of weights, at most IN_BLOCK of `in` by as many outs as make PANEL_FLOATS, takes half of
 * the first-level cache (32 KB) and stays there while all rows of x stream past it. A longer
 * IN_BLOCK means fewer additions across lanes, a shorter one more outs for every x loaded. */
enum {
    TILE_ROWS = 3,
    TILE_OUTS = 4,
    IN_BLOCK = 512,
    PANEL_FLOATS = 4096,
    ROWS_WORTH_A_COPY = 12,
    LINE_FLOATS = 16
};

EE_TARGET_BEGIN("avx2,fma")

/* The sums of the lanes of a, b, c, d. */
static inline __m128 sum_lanes(__m256 a, __m256 b, __m256 c, __m256 d)
{
    const __m256 ab = _mm256_add_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
    const __m256 cd = _mm256_add_ps(_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
    const __m256 abcd = _mm256_add_ps(_mm256_shuffle_ps(ab, cd, _MM_SHUFFLE(1, 0, 1, 0)),
                                      _mm256_shuffle_ps(ab, cd, _MM_SHUFFLE(3, 2, 3, 2)));

    return _mm_add_ps(_mm256_castps256_ps128(abcd), _mm256_extractf128_ps(abcd, 1));
}

/* rows x TILE_OUTS outputs, of which `outs` exist: the missing weight rows are read as the last one
 * and not written. Adds to `start` unless that is NULL. `rows` is a constant where this is called,
 * so that the sums stay in registers. */
static inline __attribute__((always_inline)) void
linear_tile(float *out, const float *x, const float *weight, const float *start,
            size_t rows, size_t in, size_t outs, size_t out_stride, size_t x_stride,
            size_t weight_stride, size_t start_stride)
{
    __m256 sums[TILE_ROWS][TILE_OUTS];
    const float *weights[TILE_OUTS];
    size_t i = 0;

    for (size_t o = 0; o < TILE_OUTS; o++) {
        weights[o] = weight + (o < outs ? o : outs - 1) * weight_stride;
    }
    for (size_t r = 0; r < rows; r++) {
        for (size_t o = 0; o < TILE_OUTS; o++) {
            sums[r][o] = _mm256_setzero_ps();
        }
    }
    for (; i + 8 <= in; i += 8) {
        for (size_t o = 0; o < TILE_OUTS; o++) {
            const __m256 w = _mm256_loadu_ps(weights[o] + i);
            for (size_t r = 0; r < rows; r++) {
                sums[r][o] = _mm256_fmadd_ps(_mm256_loadu_ps(x + r * x_stride + i), w, sums[r][o]);
            }
        }
    }
    if (i < in) {
        const __m256i mask = ee_avx2_mask(in - i);
        for (size_t o = 0; o < TILE_OUTS; o++) {
            const __m256 w = _mm256_maskload_ps(weights[o] + i, mask);
            for (size_t r = 0; r < rows; r++) {
                const __m256 v = _mm256_maskload_ps(x + r * x_stride + i, mask);
                sums[r][o] = _mm256_fmadd_ps(v, w, sums[r][o]);
            }
        }
    }

    for (size_t r = 0; r < rows; r++) {
        __m128 sum = sum_lanes(sums[r][0], sums[r][1], sums[r][2], sums[r][3]);

        /* Masked stores are slow: one a row costs a tenth of the time of a tile with `in` 256. */
        if (outs == TILE_OUTS) {
            if (start) {
                sum = _mm_add_ps(sum, _mm_loadu_ps(start + r * start_stride));
            }
            _mm_storeu_ps(out + r * out_stride, sum);
        } else {
            const __m128i written = _mm256_castsi256_si128(ee_avx2_mask(outs));
            if (start) {
                sum = _mm_add_ps(sum, _mm_maskload_ps(start + r * start_stride, written));
            }
            _mm_maskstore_ps(out + r * out_stride, written, sum);
        }
    }
}

/* All rows against one panel of weights. Meanwhile the weight rows of the next panel are fetched
 * into the second-level cache, some with every tile of rows: the weights of a model are larger than
 * any cache, and the hardware prefetcher does not see where the next panel begins. */
static void linear_panel(float *out, const float *x, const float *weight, const float *start,
                         size_t rows, size_t in, size_t outs, size_t out_stride, size_t x_stride,
                         size_t weight_stride, size_t start_stride,
                         const float *next, size_t next_outs, size_t next_stride)
{
    const size_t tiles = rows / TILE_ROWS + 1;
    const size_t fetched_per_tile = next_outs / tiles + 1;
    size_t fetched = 0;

    for (size_t t = 0; t < rows; t += TILE_ROWS) {
        const size_t fetch_end = next_outs - fetched < fetched_per_tile
                                     ? next_outs : fetched + fetched_per_tile;
        for (; fetched < fetch_end; fetched++) {
            for (size_t i = 0; i < in; i += LINE_FLOATS) {
                _mm_prefetch((const char *)(next + fetched * next_stride + i), _MM_HINT_T1);
            }
        }
        for (size_t o = 0; o < outs; o += TILE_OUTS) {
            float *const to = out + t * out_stride + o;
            const float *const from = start ? start + t * start_stride + o : NULL;
            const float *const w = weight + o * weight_stride;
            const float *const xs = x + t * x_stride;
            const size_t width = outs - o < TILE_OUTS ? outs - o : TILE_OUTS;

            if (rows - t >= TILE_ROWS) {
                linear_tile(to, xs, w, from, TILE_ROWS, in, width, out_stride, x_stride,
                            weight_stride, start_stride);
            } else if (rows - t == 2) {
                linear_tile(to, xs, w, from, 2, in, width, out_stride, x_stride, weight_stride,
                            start_stride);
            } else {
                linear_tile(to, xs, w, from, 1, in, width, out_stride, x_stride, weight_stride,
                            start_stride);
            }
        }
    }
}

void ee_linear_f32_avx2(float *out, const float *x, const float *weight, const float *bias,
                        size_t rows, size_t in, size_t outs,
                        size_t out_stride, size_t x_stride, size_t weight_stride)
{
    float copy[PANEL_FLOATS];

    for (size_t i = 0; i < in; i += IN_BLOCK) {
        const size_t depth = in - i < IN_BLOCK ? in - i : IN_BLOCK;
        const size_t panel = PANEL_FLOATS / depth / TILE_OUTS * TILE_OUTS;
        /* Rows that are parts of longer ones compete for the same few sets of the cache when their
         * stride is near a power of two. Unless only a few rows of x share the cost, such a panel
         * is copied to where it is contiguous. */
        const int is_copied = depth < weight_stride && rows >= ROWS_WORTH_A_COPY;

        for (size_t o = 0; o < outs; o += panel) {
            const size_t width = outs - o < panel ? outs - o : panel;
            const size_t next_width = outs - o - width < panel ? outs - o - width : panel;
            const float *const w = weight + o * weight_stride + i;
            /* The first block of `in` adds to the bias, the others to the sums so far. */
            const float *const start = i > 0 ? out + o : bias ? bias + o : NULL;

            if (is_copied) {
                for (size_t n = 0; n < width; n++) {
                    memcpy(copy + n * depth, w + n * weight_stride, depth * sizeof(float));
                }
            }
            linear_panel(out + o, x + i, is_copied ? copy : w, start, rows, depth, width,
                         out_stride, x_stride, is_copied ? depth : weight_stride,
                         i > 0 ? out_stride : 0, w + width * weight_stride, next_width,
                         weight_stride);
        }
    }
}

EE_TARGET_END

#endif
