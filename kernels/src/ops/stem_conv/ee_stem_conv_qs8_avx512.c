#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_AVX512

#include "../../common/ee_exact_avx512.h"
#include "../../common/ee_transpose_avx512.h"

EE_TARGET_BEGIN("avx512f,avx512bw,avx512dq,avx512vl")

/* Outputs lie across the lanes of a vector, and the eight lanes of a sum (docs/numerics.md) in as
 * many vectors, so that they are added without shuffles. Lanes 0, 2, 4, 6 are added to each other
 * before they meet the others: so first the even values of all rows are summed, into `out`, then
 * the odd ones, and a tile of 3 rows x 32 outputs fills 24 registers with 4 lanes of each. Products
 * then take fewer loads than a core has ports for. A panel, every other weight of 32 outputs,
 * becomes floats once for all rows, and about fits the first-level cache. */
enum {
    TILE_ROWS = 3,
    TILE_OUTS = 32,
    HALF_LANES = 4,
    LONGEST = 768, /* row of weights: a panel is at most 48 KB */
    PANEL_FLOATS = LONGEST / 2 * TILE_OUTS
};

/* One vector of outputs, of all rows of a tile. */
typedef struct {
    __m512 rows[TILE_ROWS];
} column;

/* panel[i * TILE_OUTS + o] = weight 2i + first of output o, of which `outs` exist: the last one
 * stands for the others. */
static void pack_panel(float *panel, const int8_t *weight, size_t first, size_t outs,
                       size_t weight_stride)
{
    for (size_t i = 0; i < weight_stride; i += 64) {
        const size_t bytes = ee_size_min(weight_stride - i, 64);
        const __mmask64 mask = ~(__mmask64)0 >> (64 - bytes);

        for (size_t part = 0; part < TILE_OUTS; part += 16) {
            __m512i groups[16];

            for (size_t o = 0; o < 16; o++) {
                const size_t row = ee_size_min(part + o, outs - 1);
                groups[o] = _mm512_maskz_loadu_epi8(mask, weight + row * weight_stride + i);
            }
            ee_avx512_transpose(groups);
            /* A word of groups[j] is values i + 4j .. i + 4j + 3 of an output. */
            for (size_t j = first; j < bytes; j += 2) {
                const __m128i left = _mm_cvtsi32_si128(24 - 8 * (int)(j % 4));
                const __m512i value = _mm512_srai_epi32(_mm512_sll_epi32(groups[j / 4], left), 24);
                _mm512_store_ps(panel + (i + j) / 2 * TILE_OUTS + part, _mm512_cvtepi32_ps(value));
            }
        }
    }
}

/* Adds product i of each row. */
static inline __attribute__((always_inline)) void
add_products(column sums[2], const float *x, const float *panel, size_t i, size_t rows,
             size_t x_stride)
{
    __m512 w0 = _mm512_load_ps(panel + i / 2 * TILE_OUTS);
    __m512 w1 = _mm512_load_ps(panel + i / 2 * TILE_OUTS + 16);

    /* In registers: GCC would read them again for every row. */
    __asm__("" : "+v"(w0), "+v"(w1));
    EE_UNROLL
    for (size_t r = 0; r < rows; r++) {
        const __m512 v = _mm512_set1_ps(x[r * x_stride + i]);
        sums[0].rows[r] = _mm512_add_ps(sums[0].rows[r], _mm512_mul_ps(v, w0));
        sums[1].rows[r] = _mm512_add_ps(sums[1].rows[r], _mm512_mul_ps(v, w1));
    }
}

/* The sums over values first, first + 2, first + 4, ... of the window: of lanes first, first + 2,
 * first + 4 and first + 6, as docs/numerics.md adds them. */
static inline __attribute__((always_inline)) void
sum_half(column sum[2], const float *x, const float *panel, size_t first, size_t rows,
         size_t window, size_t x_stride)
{
    column lanes[HALF_LANES][2];
    size_t i = first;

    EE_UNROLL
    for (size_t lane = 0; lane < HALF_LANES; lane++) {
        EE_UNROLL
        for (size_t r = 0; r < rows; r++) {
            lanes[lane][0].rows[r] = lanes[lane][1].rows[r] = _mm512_setzero_ps();
        }
    }
    for (; i + 2 * (HALF_LANES - 1) < window; i += 2 * HALF_LANES) {
        EE_UNROLL
        for (size_t lane = 0; lane < HALF_LANES; lane++) {
            add_products(lanes[lane], x, panel, i + 2 * lane, rows, x_stride);
        }
    }
    EE_UNROLL
    for (size_t lane = 0; lane < HALF_LANES - 1; lane++) {
        if (i + 2 * lane < window) {
            add_products(lanes[lane], x, panel, i + 2 * lane, rows, x_stride);
        }
    }
    EE_UNROLL
    for (size_t n = 0; n < 2; n++) {
        EE_UNROLL
        for (size_t r = 0; r < rows; r++) {
            sum[n].rows[r] = _mm512_add_ps(
                _mm512_add_ps(lanes[0][n].rows[r], lanes[2][n].rows[r]),
                _mm512_add_ps(lanes[1][n].rows[r], lanes[3][n].rows[r]));
        }
    }
}

/* `rows` rows, a constant where this is called, of `outs` outputs, at most TILE_OUTS: the sums over
 * even values for first = 0, then what these and those over odd values make. */
static inline __attribute__((always_inline)) void
conv_tile(float *out, const float *x, const float *panel, const float *weight_scale,
          const float *bias, size_t first, size_t rows, size_t window, size_t outs,
          size_t out_stride, size_t x_stride)
{
    column sum[2];

    sum_half(sum, x, panel, first, rows, window, x_stride);
    EE_UNROLL
    for (size_t n = 0; n < 2; n++) {
        const __mmask16 exists = ee_exact_lanes(outs > 16 * n ? outs - 16 * n : 0);
        const __m512 scale = _mm512_maskz_loadu_ps(exists, weight_scale + 16 * n);
        const __m512 shift = _mm512_maskz_loadu_ps(exists, bias + 16 * n);

        EE_UNROLL
        for (size_t r = 0; r < rows; r++) {
            float *const to = out + r * out_stride + 16 * n;
            __m512 y = sum[n].rows[r];

            if (first == 1) {
                y = _mm512_add_ps(_mm512_maskz_loadu_ps(exists, to), y);
                y = _mm512_add_ps(_mm512_mul_ps(y, scale), shift);
            }
            _mm512_mask_storeu_ps(to, exists, y);
        }
    }
}

void ee_stem_conv_qs8_avx512(float *out, const float *x, const int8_t *weight,
                             const float *weight_scale, const float *bias, size_t frames,
                             size_t channels, size_t outs, size_t kernel, size_t stride)
{
    float panel[PANEL_FLOATS] __attribute__((aligned(64)));
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
        for (size_t first = 0; first < 2; first++) {
            pack_panel(panel, weight + o * weight_stride, first, ee_size_min(outs - o, TILE_OUTS),
                       weight_stride);
            for (size_t t = 0; t < rows; t += TILE_ROWS) {
                float *const to = out + t * outs + o;
                const float *const from = x + t * x_stride;

                switch (ee_size_min(rows - t, TILE_ROWS)) {
#define TILE(count)                                                                         \
    case count:                                                                             \
        conv_tile(to, from, panel, weight_scale + o, bias + o, first, count, window,        \
                  outs - o, outs, x_stride);                                                \
        break
                    TILE(1);
                    TILE(2);
                    TILE(3);
#undef TILE
                }
            }
        }
    }
}

EE_TARGET_END

#endif
