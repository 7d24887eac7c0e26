#include <string.h>

#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_AVX2

#include "../../ee_exact_avx2.h"

/* Outputs lie across the lanes, so that no sum crosses them. The weights of a panel are widened to
 * int16 and put in pairs along `in`: a vector holds one pair of 8 outputs. One VPMADDWD multiplies
 * it by a pair of x, the same in all lanes, and adds both products. (VPMADDUBSW takes bytes, but
 * with one side shifted to 0..255 its sums saturate.) A tile of 6 rows x 16 outputs keeps 12 sums
 * in registers.
 *
 * A panel is 16 KB, half of the first-level cache, and stays there while all rows stream past it.
 * Between two blocks of `in` the integer sums wait in `out`. */
enum {
    TILE_ROWS = 6,
    TILE_OUTS = 16,
    PANEL_OUTS = 32,
    IN_BLOCK = 256
};

/* What a panel does with its sums. */
typedef struct {
    int is_first, is_last; /* block of `in`: begins at 0; turns the sums into outputs */
    size_t out_stride;
    const float *weight_scale, *bias;
} panel_plan;

EE_TARGET_BEGIN("avx2")

/* 8 rows of 8 int32: columns become rows. */
static inline void transpose(__m256i v[8])
{
    __m256i a[8], b[8];

    for (int i = 0; i < 8; i += 2) {
        a[i] = _mm256_unpacklo_epi32(v[i], v[i + 1]);
        a[i + 1] = _mm256_unpackhi_epi32(v[i], v[i + 1]);
    }
    for (int i = 0; i < 8; i += 4) {
        b[i] = _mm256_unpacklo_epi64(a[i], a[i + 2]);
        b[i + 1] = _mm256_unpackhi_epi64(a[i], a[i + 2]);
        b[i + 2] = _mm256_unpacklo_epi64(a[i + 1], a[i + 3]);
        b[i + 3] = _mm256_unpackhi_epi64(a[i + 1], a[i + 3]);
    }
    for (int i = 0; i < 4; i++) {
        v[i] = _mm256_permute2x128_si256(b[i], b[i + 4], 0x20);
        v[i + 4] = _mm256_permute2x128_si256(b[i], b[i + 4], 0x31);
    }
}

/* Pairs of TILE_OUTS outputs, of which `outs` exist: the last one stands for the others. depth is a
 * multiple of 16. */
static void pack_weights(int16_t *packed, const int8_t *weight, size_t outs, size_t depth,
                         size_t weight_stride)
{
    for (size_t o = 0; o < TILE_OUTS; o += 8) {
        for (size_t i = 0; i < depth; i += 16) {
            __m256i pairs[8];
            for (size_t j = 0; j < 8; j++) {
                const size_t row = o + j < outs ? o + j : outs - 1;
                const int8_t *const from = weight + row * weight_stride + i;
                pairs[j] = _mm256_cvtepi8_epi16(_mm_load_si128((const void *)from));
            }
            transpose(pairs);
            for (size_t j = 0; j < 8; j++) {
                int16_t *const to = packed + (i / 2 + j) * 2 * TILE_OUTS + 2 * o;
                _mm256_storeu_si256((__m256i *)(void *)to, pairs[j]);
            }
        }
    }
}

/* x (rows, depth) widened, rows IN_BLOCK apart. */
static void widen(int16_t *x, const int8_t *q, size_t rows, size_t depth, size_t q_stride)
{
    for (size_t r = 0; r < rows; r++) {
        for (size_t i = 0; i < depth; i += 16) {
            const __m128i bytes = _mm_load_si128((const void *)(q + r * q_stride + i));
            _mm256_storeu_si256((__m256i *)(void *)(x + r * IN_BLOCK + i),
                                _mm256_cvtepi8_epi16(bytes));
        }
    }
}

/* sums (rows, TILE_OUTS) = the integer sums of one block of `in`. `rows` is a constant where this
 * is called, so that the sums stay in registers. */
static inline __attribute__((always_inline)) void
sum_tile(int32_t *sums, const int16_t *x, const int16_t *packed, size_t rows, size_t depth)
{
    __m256i tile[TILE_ROWS][2];

    for (size_t r = 0; r < rows; r++) {
        tile[r][0] = tile[r][1] = _mm256_setzero_si256();
    }
    for (size_t i = 0; i < depth; i += 2) {
        const __m256i *const pairs = (const __m256i *)(const void *)(packed + i * TILE_OUTS);
        const __m256i w0 = _mm256_loadu_si256(pairs);
        const __m256i w1 = _mm256_loadu_si256(pairs + 1);
        for (size_t r = 0; r < rows; r++) {
            int32_t pair;
            memcpy(&pair, x + r * IN_BLOCK + i, sizeof(pair));
            const __m256i v = _mm256_set1_epi32(pair);
            tile[r][0] = _mm256_add_epi32(tile[r][0], _mm256_madd_epi16(v, w0));
            tile[r][1] = _mm256_add_epi32(tile[r][1], _mm256_madd_epi16(v, w1));
        }
    }
    for (size_t r = 0; r < rows; r++) {
        __m256i *const to = (__m256i *)(void *)(sums + r * TILE_OUTS);
        _mm256_storeu_si256(to, tile[r][0]);
        _mm256_storeu_si256(to + 1, tile[r][1]);
    }
}

/* From sums to outputs, of which `outs` exist: 8 at a time. */
static void end_tile(float *out, const int32_t *sums, const float *scale,
                     const float *weight_scale, const float *bias, size_t rows, size_t outs,
                     const panel_plan *plan)
{
    for (size_t o = 0; o < outs; o += 8) {
        const size_t count = outs - o;
        const __m256 weight_scales = ee_exact_load(weight_scale + o, count);

        for (size_t r = 0; r < rows; r++) {
            float *const to = out + r * plan->out_stride + o;
            __m256i sum = _mm256_loadu_si256((const void *)(sums + r * TILE_OUTS + o));

            if (!plan->is_first) {
                sum = _mm256_add_epi32(sum, _mm256_castps_si256(ee_exact_load(to, count)));
            }
            if (!plan->is_last) {
                ee_exact_store(to, _mm256_castsi256_ps(sum), count);
                continue;
            }
            const __m256 factor = _mm256_mul_ps(_mm256_set1_ps(scale[r]), weight_scales);
            __m256 y = _mm256_mul_ps(_mm256_cvtepi32_ps(sum), factor);
            if (bias) {
                y = _mm256_add_ps(y, ee_exact_load(bias + o, count));
            }
            ee_exact_store(to, y, count);
        }
    }
}

/* `rows` rows, a constant of at most TILE_ROWS, against a panel of `outs` outputs. */
static inline __attribute__((always_inline)) void
linear_rows(float *out, const int8_t *q, const float *scale, const int16_t *packed, size_t rows,
            size_t depth, size_t outs, size_t q_stride, const panel_plan *plan)
{
    int16_t x[TILE_ROWS * IN_BLOCK];
    int32_t sums[TILE_ROWS * TILE_OUTS];

    widen(x, q, rows, depth, q_stride);
    for (size_t o = 0; o < outs; o += TILE_OUTS) {
        sum_tile(sums, x, packed + o * IN_BLOCK, rows, depth);
        end_tile(out + o, sums, scale, plan->weight_scale + o, plan->bias ? plan->bias + o : NULL,
                 rows, ee_size_min(outs - o, TILE_OUTS), plan);
    }
}

void ee_linear_qs8_avx2(float *out, const int8_t *q, const float *scale, const int8_t *weight,
                        const float *weight_scale, const float *bias,
                        size_t rows, size_t in, size_t outs,
                        size_t out_stride, size_t q_stride, size_t weight_stride)
{
    int16_t packed[PANEL_OUTS * IN_BLOCK];
    const size_t padded = ee_row_stride_qs8(in);

    for (size_t i = 0; i < padded; i += IN_BLOCK) {
        const size_t depth = ee_size_min(padded - i, IN_BLOCK);

        for (size_t o = 0; o < outs; o += PANEL_OUTS) {
            const size_t width = ee_size_min(outs - o, PANEL_OUTS);
            const panel_plan plan = {
                .is_first = i == 0, .is_last = i + depth == padded, .out_stride = out_stride,
                .weight_scale = weight_scale + o, .bias = bias ? bias + o : NULL,
            };

            for (size_t p = 0; p < width; p += TILE_OUTS) {
                pack_weights(packed + p * IN_BLOCK, weight + (o + p) * weight_stride + i,
                             ee_size_min(width - p, TILE_OUTS), depth, weight_stride);
            }
            for (size_t t = 0; t < rows;) {
                float *const to = out + t * out_stride + o;
                const int8_t *const x = q + t * q_stride + i;

                if (rows - t >= TILE_ROWS) {
                    linear_rows(to, x, scale + t, packed, TILE_ROWS, depth, width, q_stride, &plan);
                    t += TILE_ROWS;
                } else if (rows - t >= 3) {
                    linear_rows(to, x, scale + t, packed, 3, depth, width, q_stride, &plan);
                    t += 3;
                } else {
                    linear_rows(to, x, scale + t, packed, 1, depth, width, q_stride, &plan);
                    t += 1;
                }
            }
        }
    }
}

EE_TARGET_END

#endif
