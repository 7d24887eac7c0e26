#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_AVX512

#include "../../ee_exact_avx512.h"
#include "../../ee_transpose_avx512.h"

EE_TARGET_BEGIN("avx512f,avx512bw,avx512dq,avx512vl")

/* Outputs lie across the lanes of a vector, and the eight lanes of a sum (docs/numerics.md) in eight
 * vectors, so that they are added without shuffles: 3 rows x 8 sums of 16 outputs fill 24 registers.
 * The weights of 16 outputs are turned into floats once for all rows. */
enum {
    TILE_ROWS = 3,
    TILE_OUTS = 16,
    SUM_LANES = 8,
    LONGEST = 768 /* row of weights: a panel is at most 48 KB */
};

/* panel[i * TILE_OUTS + o] = weight i of output o, of which `outs` exist: the last one stands for the
 * others. */
static void pack_panel(float *panel, const int8_t *weight, size_t outs, size_t weight_stride)
{
    for (size_t i = 0; i < weight_stride; i += 64) {
        const size_t bytes = ee_size_min(weight_stride - i, 64);
        const __mmask64 mask = ~(__mmask64)0 >> (64 - bytes);
        __m512i groups[TILE_OUTS];

        for (size_t o = 0; o < TILE_OUTS; o++) {
            const int8_t *const row = weight + ee_size_min(o, outs - 1) * weight_stride;
            groups[o] = _mm512_maskz_loadu_epi8(mask, row + i);
        }
        ee_avx512_transpose(groups);
        /* A word of groups[j] is values i + 4j .. i + 4j + 3 of an output. */
        for (size_t j = 0; j < bytes; j++) {
            const __m128i left = _mm_cvtsi32_si128(24 - 8 * (int)(j % 4));
            const __m512i value = _mm512_srai_epi32(_mm512_sll_epi32(groups[j / 4], left), 24);
            _mm512_store_ps(panel + (i + j) * TILE_OUTS, _mm512_cvtepi32_ps(value));
        }
    }
}

/* Adds product i of each row to lane `lane`. */
static inline __attribute__((always_inline)) void
add_products(__m512 sums[TILE_ROWS][SUM_LANES], const float *x, const float *panel, size_t i,
             size_t lane, size_t rows, size_t x_stride)
{
    const __m512 w = _mm512_load_ps(panel + i * TILE_OUTS);

    EE_UNROLL
    for (size_t r = 0; r < rows; r++) {
        const __m512 product = _mm512_mul_ps(_mm512_set1_ps(x[r * x_stride + i]), w);
        sums[r][lane] = _mm512_add_ps(sums[r][lane], product);
    }
}

/* `rows` rows, a constant where this is called, of the outputs in `exists`. */
static inline __attribute__((always_inline)) void
conv_tile(float *out, const float *x, const float *panel, const float *weight_scale,
          const float *bias, size_t rows, size_t window, __mmask16 exists, size_t out_stride,
          size_t x_stride)
{
    const __m512 scale = _mm512_maskz_loadu_ps(exists, weight_scale);
    const __m512 shift = _mm512_maskz_loadu_ps(exists, bias);
    __m512 sums[TILE_ROWS][SUM_LANES];
    size_t i = 0;

    EE_UNROLL
    for (size_t r = 0; r < rows; r++) {
        EE_UNROLL
        for (size_t lane = 0; lane < SUM_LANES; lane++) {
            sums[r][lane] = _mm512_setzero_ps();
        }
    }
    for (; window - i >= SUM_LANES; i += SUM_LANES) {
        EE_UNROLL
        for (size_t lane = 0; lane < SUM_LANES; lane++) {
            add_products(sums, x, panel, i + lane, lane, rows, x_stride);
        }
    }
    EE_UNROLL
    for (size_t lane = 0; lane < SUM_LANES; lane++) {
        if (lane < window - i) {
            add_products(sums, x, panel, i + lane, lane, rows, x_stride);
        }
    }
    EE_UNROLL
    for (size_t r = 0; r < rows; r++) {
        const __m512 *const s = sums[r];
        const __m512 even = _mm512_add_ps(_mm512_add_ps(s[0], s[4]), _mm512_add_ps(s[2], s[6]));
        const __m512 odd = _mm512_add_ps(_mm512_add_ps(s[1], s[5]), _mm512_add_ps(s[3], s[7]));
        const __m512 sum = _mm512_add_ps(even, odd);

        _mm512_mask_storeu_ps(out + r * out_stride, exists,
                              _mm512_add_ps(_mm512_mul_ps(sum, scale), shift));
    }
}

void ee_stem_conv_qs8_avx512(float *out, const float *x, const int8_t *weight,
                             const float *weight_scale, const float *bias, size_t frames,
                             size_t channels, size_t outs, size_t kernel, size_t stride)
{
    float panel[LONGEST * TILE_OUTS] __attribute__((aligned(64)));
    const size_t window = kernel * channels;
    const size_t weight_stride = ee_row_stride_qs8(window);
    const size_t x_stride = stride * channels;
    const size_t rows = ee_stem_conv_f32_frames(frames, kernel, stride);

    if (weight_stride > LONGEST) {
        ee_stem_conv_qs8_avx2(out, x, weight, weight_scale, bias, frames, channels, outs, kernel,
                              stride);
        return;
    }
    for (size_t o = 0; rows > 0 && o < outs; o += TILE_OUTS) {
        const __mmask16 exists = ee_exact_lanes(outs - o);

        pack_panel(panel, weight + o * weight_stride, ee_size_min(outs - o, TILE_OUTS),
                   weight_stride);
        for (size_t t = 0; t < rows; t += TILE_ROWS) {
            float *const to = out + t * outs + o;
            const float *const from = x + t * x_stride;

            switch (ee_size_min(rows - t, TILE_ROWS)) {
#define TILE(count)                                                                    \
    case count:                                                                        \
        conv_tile(to, from, panel, weight_scale + o, bias + o, count, window, exists,  \
                  outs, x_stride);                                                     \
        break
                TILE(1);
                TILE(2);
                TILE(3);
#undef TILE
            }
        }
    }
}

EE_TARGET_END

#endif
