#include <string.h>

#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_VNNI

#include <immintrin.h>

#include "../../ee_qs8.h"
#include "../../ee_target.h"

/* Outputs lie across the lanes, so that no sum crosses them: a vector of packed weights holds four
 * values along `in` of 16 outputs, and VPDPBUSD multiplies them by four values of x, the same in
 * all lanes. One side of that instruction is unsigned: it gets weight + 128, and 128 times the sum
 * of the row of x, which is the same for all outputs, is taken away at the end. No sum of 65536
 * products of at most 255 * 127 leaves int32. A tile of 12 rows x 32 outputs keeps 24 sums in
 * registers.
 *
 * A panel is 16 KB, half of the first-level cache, and stays there while the rows stream past it.
 * Between two blocks of `in` the integer sums wait in `out`. */
enum {
    TILE_ROWS = 12,
    TILE_OUTS = 32,
    IN_BLOCK = 512,
    ROW_BLOCK = 96
};

/* What a tile does with its sums. */
typedef struct {
    int is_first, is_last; /* block of `in`: begins at 0; turns the sums into outputs */
    size_t out_stride;
    const float *weight_scale, *bias;
} tile_plan;

EE_TARGET_BEGIN("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")

/* 16 rows of 16 int32: columns become rows. */
static inline void transpose(__m512i v[16])
{
    __m512i a[16];

    for (int i = 0; i < 16; i += 2) {
        a[i] = _mm512_unpacklo_epi32(v[i], v[i + 1]);
        a[i + 1] = _mm512_unpackhi_epi32(v[i], v[i + 1]);
    }
    /* v[i + c]: column 4 lane + c of rows i..i+3, for each of the four lanes of 128 bits */
    for (int i = 0; i < 16; i += 4) {
        v[i] = _mm512_unpacklo_epi64(a[i], a[i + 2]);
        v[i + 1] = _mm512_unpackhi_epi64(a[i], a[i + 2]);
        v[i + 2] = _mm512_unpacklo_epi64(a[i + 1], a[i + 3]);
        v[i + 3] = _mm512_unpackhi_epi64(a[i + 1], a[i + 3]);
    }
    for (int c = 0; c < 4; c++) {
        a[c] = _mm512_shuffle_i32x4(v[c], v[4 + c], 0x88);
        a[4 + c] = _mm512_shuffle_i32x4(v[c], v[4 + c], 0xDD);
        a[8 + c] = _mm512_shuffle_i32x4(v[8 + c], v[12 + c], 0x88);
        a[12 + c] = _mm512_shuffle_i32x4(v[8 + c], v[12 + c], 0xDD);
    }
    for (int c = 0; c < 4; c++) {
        v[c] = _mm512_shuffle_i32x4(a[c], a[8 + c], 0x88);
        v[8 + c] = _mm512_shuffle_i32x4(a[c], a[8 + c], 0xDD);
        v[4 + c] = _mm512_shuffle_i32x4(a[4 + c], a[12 + c], 0x88);
        v[12 + c] = _mm512_shuffle_i32x4(a[4 + c], a[12 + c], 0xDD);
    }
}

/* Groups of four values of TILE_OUTS outputs, 128 added, of which `outs` exist: the last one stands
 * for the others. depth is a multiple of 16. */
static void pack_weights(uint8_t *packed, const int8_t *weight, size_t outs, size_t depth,
                         size_t weight_stride)
{
    const __m512i offset = _mm512_set1_epi8(-128);

    for (size_t o = 0; o < TILE_OUTS; o += 16) {
        for (size_t i = 0; i < depth; i += 64) {
            const size_t bytes = ee_size_min(depth - i, 64);
            const __mmask64 mask = ~(__mmask64)0 >> (64 - bytes);
            __m512i groups[16];
            for (size_t j = 0; j < 16; j++) {
                const size_t row = ee_size_min(o + j, outs - 1);
                groups[j] = _mm512_maskz_loadu_epi8(mask, weight + row * weight_stride + i);
            }
            transpose(groups);
            for (size_t j = 0; j < bytes / 4; j++) {
                uint8_t *const to = packed + (i / 4 + j) * 4 * TILE_OUTS + 4 * o;
                _mm512_storeu_si512(to, _mm512_xor_si512(groups[j], offset));
            }
        }
    }
}

/* 128 times the sum of a row of x. */
static int32_t row_excess(const int8_t *q, size_t padded)
{
    const __m512i weights = _mm512_set1_epi8(-128); /* 128 without a sign */
    __m512i sum = _mm512_setzero_si512();

    for (size_t i = 0; i < padded; i += 64) {
        const __mmask64 mask = ~(__mmask64)0 >> (64 - ee_size_min(padded - i, 64));
        sum = _mm512_dpbusd_epi32(sum, weights, _mm512_maskz_loadu_epi8(mask, q + i));
    }
    return _mm512_reduce_add_epi32(sum);
}

/* sums (rows, TILE_OUTS) = the integer sums of one block of `in`. `rows` is a constant where this
 * is called, so that the sums stay in registers. */
static inline __attribute__((always_inline)) void
sum_tile(int32_t *sums, const int8_t *q, const uint8_t *packed, size_t rows, size_t depth,
         size_t q_stride)
{
    __m512i tile[TILE_ROWS][2];

    for (size_t r = 0; r < rows; r++) {
        tile[r][0] = tile[r][1] = _mm512_setzero_si512();
    }
    for (size_t i = 0; i < depth; i += 4) {
        const __m512i w0 = _mm512_loadu_si512(packed + i * TILE_OUTS);
        const __m512i w1 = _mm512_loadu_si512(packed + i * TILE_OUTS + 64);
        for (size_t r = 0; r < rows; r++) {
            int32_t group;
            memcpy(&group, q + r * q_stride + i, sizeof(group));
            const __m512i v = _mm512_set1_epi32(group);
            tile[r][0] = _mm512_dpbusd_epi32(tile[r][0], w0, v);
            tile[r][1] = _mm512_dpbusd_epi32(tile[r][1], w1, v);
        }
    }
    for (size_t r = 0; r < rows; r++) {
        _mm512_storeu_si512(sums + r * TILE_OUTS, tile[r][0]);
        _mm512_storeu_si512(sums + r * TILE_OUTS + 16, tile[r][1]);
    }
}

/* From sums to outputs, of which `outs` exist: 16 at a time. */
static void end_tile(float *out, const int32_t *sums, const float *scale, const int32_t *excess,
                     size_t rows, size_t outs, const tile_plan *plan)
{
    for (size_t o = 0; o < outs; o += 16) {
        const __mmask16 exists = (__mmask16)((1u << ee_size_min(outs - o, 16)) - 1);
        const __m512 weight_scale = _mm512_maskz_loadu_ps(exists, plan->weight_scale + o);

        for (size_t r = 0; r < rows; r++) {
            float *const to = out + r * plan->out_stride + o;
            __m512i sum = _mm512_loadu_si512(sums + r * TILE_OUTS + o);

            if (!plan->is_first) {
                sum = _mm512_add_epi32(sum, _mm512_maskz_loadu_epi32(exists, to));
            }
            if (!plan->is_last) {
                _mm512_mask_storeu_epi32(to, exists, sum);
                continue;
            }
            sum = _mm512_sub_epi32(sum, _mm512_set1_epi32(excess[r]));

            const __m512 factor = _mm512_mul_ps(_mm512_set1_ps(scale[r]), weight_scale);
            __m512 y = _mm512_mul_ps(_mm512_cvtepi32_ps(sum), factor);
            if (plan->bias) {
                y = _mm512_add_ps(y, _mm512_maskz_loadu_ps(exists, plan->bias + o));
            }
            _mm512_mask_storeu_ps(to, exists, y);
        }
    }
}

/* Rows of the next tile when so many are left. */
static inline size_t tile_rows(size_t left)
{
    return left >= TILE_ROWS ? TILE_ROWS : left >= 6 ? 6 : left >= 3 ? 3 : 1;
}

/* All of at most ROW_BLOCK rows. */
static void linear_rows(float *out, const int8_t *q, const float *scale, const int8_t *weight,
                        const float *weight_scale, const float *bias,
                        size_t rows, size_t padded, size_t outs,
                        size_t out_stride, size_t q_stride, size_t weight_stride)
{
    uint8_t packed[TILE_OUTS * IN_BLOCK];
    int32_t excess[ROW_BLOCK];
    int32_t sums[TILE_ROWS * TILE_OUTS];

    for (size_t t = 0; t < rows; t++) {
        excess[t] = row_excess(q + t * q_stride, padded);
    }
    for (size_t i = 0; i < padded; i += IN_BLOCK) {
        const size_t depth = ee_size_min(padded - i, IN_BLOCK);

        for (size_t o = 0; o < outs; o += TILE_OUTS) {
            const size_t width = ee_size_min(outs - o, TILE_OUTS);
            const tile_plan plan = {
                .is_first = i == 0, .is_last = i + depth == padded, .out_stride = out_stride,
                .weight_scale = weight_scale + o, .bias = bias ? bias + o : NULL,
            };

            pack_weights(packed, weight + o * weight_stride + i, width, depth, weight_stride);
            for (size_t t = 0, tile; t < rows; t += tile) {
                const int8_t *const x = q + t * q_stride + i;

                tile = tile_rows(rows - t);
                switch (tile) {
                case TILE_ROWS:
                    sum_tile(sums, x, packed, TILE_ROWS, depth, q_stride);
                    break;
                case 6:
                    sum_tile(sums, x, packed, 6, depth, q_stride);
                    break;
                case 3:
                    sum_tile(sums, x, packed, 3, depth, q_stride);
                    break;
                default:
                    sum_tile(sums, x, packed, 1, depth, q_stride);
                    break;
                }
                end_tile(out + t * out_stride + o, sums, scale + t, excess + t, tile, width, &plan);
            }
        }
    }
}

void ee_linear_qs8_vnni(float *out, const int8_t *q, const float *scale, const int8_t *weight,
                        const float *weight_scale, const float *bias,
                        size_t rows, size_t in, size_t outs,
                        size_t out_stride, size_t q_stride, size_t weight_stride)
{
    for (size_t t = 0; t < rows; t += ROW_BLOCK) {
        linear_rows(out + t * out_stride, q + t * q_stride, scale + t, weight, weight_scale, bias,
                    ee_size_min(rows - t, ROW_BLOCK), ee_row_stride_qs8(in), outs, out_stride,
                    q_stride, weight_stride);
    }
}

EE_TARGET_END

#endif
