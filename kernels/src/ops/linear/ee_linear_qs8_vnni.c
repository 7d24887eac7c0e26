#include <string.h>

#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_VNNI

#include <immintrin.h>

#include "../../common/ee_prefetch.h"
#include "../../common/ee_qs8.h"
#include "../../common/ee_target.h"
#include "../../common/ee_transpose_avx512.h"

/* Outputs lie across the lanes, so that no sum crosses them: a vector of packed weights holds four
 * values along `in` of 16 outputs, and VPDPBUSD multiplies them by four values of x, the same in
 * all lanes. One side of that instruction is unsigned: it gets weight + 128, and 128 times the sum
 * of the row of x, which is the same for all outputs, is taken away at the end. No sum of 65536
 * products of at most 255 * 127 leaves int32. A tile of 12 rows x 32 outputs keeps 24 sums in
 * registers.
 *
 * A panel is 16 KB, a third to a half of the first-level cache, and stays there while the rows
 * stream past it, and the next one comes; the block of x, 128 KB, comes from the second-level cache. Between two blocks of
 * `in` the integer sums wait in `out`. */
enum {
    TILE_ROWS = 12,
    TILE_OUTS = 32,
    IN_BLOCK = 512,
    ROW_BLOCK = 256
};

/* What a tile does with its sums. */
typedef struct {
    int is_first, is_last;   /* block of `in`: begins at 0; turns the sums into outputs */
    size_t depth;            /* of the block, a multiple of 16 */
    __mmask16 exists[2];     /* outputs of either half */
    size_t out_stride, q_stride;
    const float *weight_scale, *bias;
} tile_plan;

EE_TARGET_BEGIN("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")

/* Groups of four values of TILE_OUTS outputs, 128 added, of which `outs` exist: the last one stands
 * for the others. depth is a multiple of 16. */
static void pack_weights(int8_t *packed, const int8_t *weight, size_t outs, size_t depth,
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
            ee_avx512_transpose(groups);
            for (size_t j = 0; j < bytes / 4; j++) {
                int8_t *const to = packed + (i / 4 + j) * 4 * TILE_OUTS + 4 * o;
                _mm512_storeu_si512(to, _mm512_xor_si512(groups[j], offset));
            }
        }
    }
}

/* 128 times the sum of a row of x. */
static int32_t row_excess(const int8_t *q, size_t padded)
{
    const __m512i weights = _mm512_set1_epi8(-128); /* 128 without a sign */
    __m512i even = _mm512_setzero_si512(), odd = even;
    size_t i = 0;

    for (; padded - i >= 128; i += 128) {
        even = _mm512_dpbusd_epi32(even, weights, _mm512_loadu_si512(q + i));
        odd = _mm512_dpbusd_epi32(odd, weights, _mm512_loadu_si512(q + i + 64));
    }
    for (; i < padded; i += 64) {
        const __mmask64 mask = ~(__mmask64)0 >> (64 - ee_size_min(padded - i, 64));
        even = _mm512_dpbusd_epi32(even, weights, _mm512_maskz_loadu_epi8(mask, q + i));
    }
    return _mm512_reduce_add_epi32(_mm512_add_epi32(even, odd));
}

/* The rows of a tile, written out: GCC would keep an array of sums in memory. */
#define EACH_ROW(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7) DO(8) DO(9) DO(10) DO(11)

/* The sums of one row of a tile before the products, from its place in `out`. */
static inline __attribute__((always_inline)) void
begin_row(__m512i sums[2], const float *out, int32_t excess, const tile_plan *plan)
{
    if (plan->is_first) {
        sums[0] = sums[1] = _mm512_set1_epi32(-excess);
    } else {
        sums[0] = _mm512_maskz_loadu_epi32(plan->exists[0], out);
        sums[1] = _mm512_maskz_loadu_epi32(plan->exists[1], out + 16);
    }
}

/* Adds four products to each sum. */
static inline __attribute__((always_inline)) void
add_products(__m512i sums[2], const int8_t *q, __m512i w0, __m512i w1)
{
    int32_t group;
    memcpy(&group, q, sizeof(group));
    const __m512i v = _mm512_set1_epi32(group);

    sums[0] = _mm512_dpbusd_epi32(sums[0], w0, v);
    sums[1] = _mm512_dpbusd_epi32(sums[1], w1, v);
}

/* A vector of outputs from their sums; has_bias: a constant where this is called. */
static inline __attribute__((always_inline)) __m512
outputs_of(const int32_t *sums, __m512 scale, __m512 weight_scale, __m512 bias, int has_bias)
{
    const __m512 y = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_load_si512(sums)),
                                   _mm512_mul_ps(scale, weight_scale));

    return has_bias ? _mm512_add_ps(y, bias) : y;
}

/* Likewise the rows of a tile. What the plan says is read before: GCC would do so for every row. */
static inline __attribute__((always_inline)) void
end_rows(float *out, const int32_t *sums, const float *scale, size_t rows, const tile_plan *plan,
         int has_bias)
{
    const size_t out_stride = plan->out_stride;
    const __mmask16 e0 = plan->exists[0], e1 = plan->exists[1];
    const __m512 w0 = _mm512_maskz_loadu_ps(e0, plan->weight_scale);
    const __m512 w1 = _mm512_maskz_loadu_ps(e1, plan->weight_scale + 16);
    const __m512 b0 = has_bias ? _mm512_maskz_loadu_ps(e0, plan->bias) : w0;
    const __m512 b1 = has_bias ? _mm512_maskz_loadu_ps(e1, plan->bias + 16) : w1;

    for (size_t r = 0; r < rows; r++) {
        const __m512 by = _mm512_set1_ps(scale[r]);

        _mm512_mask_storeu_ps(out, e0, outputs_of(sums, by, w0, b0, has_bias));
        _mm512_mask_storeu_ps(out + 16, e1, outputs_of(sums + 16, by, w1, b1, has_bias));
        sums += TILE_OUTS;
        out += out_stride;
    }
}

/* From the sums of a tile to outputs, or to the sums of the next block of `in`. Apart from the
 * products: in one function GCC runs out of registers and spills between the products. */
static __attribute__((noinline)) void
end_tile(float *out, const int32_t *sums, const float *scale, size_t rows, const tile_plan *plan)
{
    if (plan->is_last && plan->bias != NULL) {
        end_rows(out, sums, scale, rows, plan, 1);
    } else if (plan->is_last) {
        end_rows(out, sums, scale, rows, plan, 0);
    } else {
        for (size_t r = 0; r < rows; r++, out += plan->out_stride, sums += TILE_OUTS) {
            _mm512_mask_storeu_epi32(out, plan->exists[0], _mm512_load_si512(sums));
            _mm512_mask_storeu_epi32(out + 16, plan->exists[1], _mm512_load_si512(sums + 16));
        }
    }
}

/* A tile of `rows` rows, a constant where this is called, so that the sums stay in registers. */
static inline __attribute__((always_inline)) void
linear_tile(float *out, const int8_t *q, const float *scale, const int32_t *excess,
            const int8_t *packed, size_t rows, const tile_plan *plan)
{
    const size_t out_stride = plan->out_stride, q_stride = plan->q_stride;

#define BEGIN(r)                                                                 \
    __m512i row##r[2];                                                           \
    begin_row(row##r, out + (rows > r ? r : 0) * out_stride, excess[rows > r ? r : 0], plan);
    EACH_ROW(BEGIN)
#undef BEGIN

    for (size_t i = 0; i < plan->depth; i += 4) {
        const __m512i w0 = _mm512_loadu_si512(packed + i * TILE_OUTS);
        const __m512i w1 = _mm512_loadu_si512(packed + i * TILE_OUTS + 64);
#define ADD(r)                                                                   \
        if (rows > r) {                                                          \
            add_products(row##r, q + r * q_stride + i, w0, w1);                  \
        }
        EACH_ROW(ADD)
#undef ADD
    }

    int32_t sums[TILE_ROWS * TILE_OUTS] __attribute__((aligned(64)));
#define STORE(r)                                                                 \
    if (rows > r) {                                                              \
        _mm512_store_si512(sums + r * TILE_OUTS, row##r[0]);                     \
        _mm512_store_si512(sums + r * TILE_OUTS + 16, row##r[1]);                \
    }
    EACH_ROW(STORE)
#undef STORE
    end_tile(out, sums, scale, rows, plan);
}

/* A function for each number of rows: inlined into the loops over tiles, GCC keeps their counters
 * in registers and the sums in memory. */
typedef void tile_function(float *out, const int8_t *q, const float *scale, const int32_t *excess,
                           const int8_t *packed, const tile_plan *plan);

#define TILE(r)                                                                  \
    static __attribute__((noinline)) void                                        \
    rows_up_to_##r(float *out, const int8_t *q, const float *scale, const int32_t *excess, \
                   const int8_t *packed, const tile_plan *plan)                  \
    {                                                                            \
        linear_tile(out, q, scale, excess, packed, r + 1, plan);                 \
    }
EACH_ROW(TILE)
#undef TILE

/* The first `count` lanes. */
static inline __mmask16 first_lanes(size_t count)
{
    return (__mmask16)((1u << ee_size_min(count, 16)) - 1);
}

/* All of at most ROW_BLOCK rows. */
static void linear_rows(float *out, const int8_t *q, const float *scale, const int8_t *weight,
                        const float *weight_scale, const float *bias,
                        size_t rows, size_t padded, size_t outs,
                        size_t out_stride, size_t q_stride, size_t weight_stride)
{
#define TILE(r) rows_up_to_##r,
    static tile_function *const rows_up_to[TILE_ROWS] = {EACH_ROW(TILE)};
#undef TILE
    const int is_packed = weight_stride == 0;
    const size_t packed_stride = ee_packed_stride_qs8(padded);
    int8_t panel[TILE_OUTS * IN_BLOCK] __attribute__((aligned(64)));
    int32_t excess[ROW_BLOCK];
    const size_t step = ee_even_part(rows, TILE_ROWS);
    const size_t tiles = rows / step + (rows % step != 0);

    for (size_t t = 0; t < rows; t++) {
        excess[t] = row_excess(q + t * q_stride, padded);
    }
    for (size_t i = 0; i < padded; i += IN_BLOCK) {
        const size_t depth = ee_size_min(padded - i, IN_BLOCK);

        for (size_t o = 0; o < outs; o += TILE_OUTS) {
            const size_t width = ee_size_min(outs - o, TILE_OUTS);
            const tile_plan plan = {
                .is_first = i == 0, .is_last = i + depth == padded, .depth = depth,
                .exists = {first_lanes(width), first_lanes(width > 16 ? width - 16 : 0)},
                .out_stride = out_stride, .q_stride = q_stride,
                .weight_scale = weight_scale + o, .bias = bias ? bias + o : NULL,
            };

            ee_prefetch next =
                is_packed
                    ? ee_prefetch_packed(weight, packed_stride, outs, padded, o, TILE_OUTS, i, depth)
                    : ee_prefetch_next(weight, weight_stride, outs, padded, o, TILE_OUTS, i, depth);
            const size_t share = ee_prefetch_share(&next, tiles);
            const int8_t *packed = panel;

            if (is_packed) {
                packed = weight + o * packed_stride + i * TILE_OUTS;
            } else {
                pack_weights(panel, weight + o * weight_stride + i, width, depth, weight_stride);
            }
            for (size_t t = 0; t < rows; t += step) {
                ee_prefetch_some(&next, share, 1);
                float *const to = out + t * out_stride + o;
                const int8_t *const x = q + t * q_stride + i;

                const size_t last = ee_size_min(rows - t, step) - 1;

                rows_up_to[last](to, x, scale + t, excess + t, packed, &plan);
            }
        }
    }
}

void ee_linear_qs8_vnni(float *out, const int8_t *q, const float *scale, const int8_t *weight,
                        const float *weight_scale, const float *bias,
                        size_t rows, size_t in, size_t outs,
                        size_t out_stride, size_t q_stride, size_t weight_stride)
{
    const size_t step = ee_even_part(rows, ROW_BLOCK);

    for (size_t t = 0; t < rows; t += step) {
        linear_rows(out + t * out_stride, q + t * q_stride, scale + t, weight, weight_scale, bias,
                    ee_size_min(rows - t, step), ee_row_stride_qs8(in), outs, out_stride, q_stride,
                    weight_stride);
    }
}

void ee_pack_linear_vnni(int8_t *to, const int8_t *weight, size_t in, size_t outs,
                         size_t weight_stride)
{
    for (size_t o = 0; o < outs; o += TILE_OUTS) {
        pack_weights(to + o * ee_packed_stride_qs8(in), weight + o * weight_stride,
                     ee_size_min(outs - o, TILE_OUTS), ee_row_stride_qs8(in), weight_stride);
    }
}

EE_TARGET_END

#endif
