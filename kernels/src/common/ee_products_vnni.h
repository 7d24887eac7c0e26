/* ee_products_vnni.h: int8 products with VPDPBUSD. The file that includes it says by EE_DIGITS, 1 or
 * 2, how many digits its values have. */
#ifndef EE_PRODUCTS_VNNI_H
#define EE_PRODUCTS_VNNI_H

#include <immintrin.h>
#include <string.h>

#include "ee_prefetch.h"
#include "ee_qs8.h"
#include "ee_target.h"
#include "ee_transpose_avx512.h"

/* Outputs lie across the lanes, so that no sum crosses them: a vector of packed weights holds four
 * values along `in` of 16 outputs, and VPDPBUSD multiplies them by four values of x, the same in
 * all lanes. One side of that instruction is unsigned: it gets weight + 128, and 128 times the sum
 * of the row of x, which is the same for all outputs, is taken away at the end. No sum of 65536
 * products of at most 255 * 127 leaves int32. A tile of 12 rows of digits x 32 outputs keeps 24 sums
 * in registers.
 *
 * A value of two digits has its two rows one after the other in a tile, whose sums are joined there,
 * 128 high + low: with EE_DIGITS_IN inputs that fits int32. What is on the way to it may wrap around.
 *
 * A panel is 16 KB, a third to a half of the first-level cache, and stays there while the rows
 * stream past it, and the next one comes; the block of x, 128 KB, comes from the second-level cache.
 * Between two blocks of `in` the integer sums wait in `out`. */
enum {
    TILE_DIGITS = 12,
    TILE_ROWS = TILE_DIGITS / EE_DIGITS,
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
    const float *weight_scale, *bias; /* either may be NULL */
} tile_plan;

#define EE_VNNI_TARGET "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni"

EE_TARGET_BEGIN(EE_VNNI_TARGET)

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

/* 128 times the sum of a row of digits. */
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

/* The rows of digits of a tile, written out: GCC would keep an array of sums in memory. */
#define EACH_ROW(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7) DO(8) DO(9) DO(10) DO(11)

/* The sums of one row of a tile before the products, from its place in `out`; those of high digits,
 * a constant where this is called, are joined to them later. */
static inline __attribute__((always_inline)) void
begin_row(__m512i sums[2], const float *out, int32_t excess, int is_high, const tile_plan *plan)
{
    if (is_high) {
        sums[0] = sums[1] = _mm512_setzero_si512();
    } else if (plan->is_first) {
        sums[0] = sums[1] = _mm512_sub_epi32(_mm512_setzero_si512(), _mm512_set1_epi32(excess));
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

/* A vector of the sums of a row of a tile: of the row itself, or of its two rows of digits. */
static inline __m512i sums_of(const int32_t *sums)
{
    const __m512i first = _mm512_load_si512(sums);

    if (EE_DIGITS == 1) {
        return first;
    }
    return _mm512_add_epi32(_mm512_slli_epi32(first, 7), _mm512_load_si512(sums + TILE_OUTS));
}

/* A vector of outputs from their sums; has_bias: a constant where this is called. */
static inline __attribute__((always_inline)) __m512
outputs_of(const int32_t *sums, __m512 scale, __m512 weight_scale, __m512 bias, int has_bias)
{
    const __m512 y = _mm512_mul_ps(_mm512_cvtepi32_ps(sums_of(sums)),
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
    const float *const by = plan->weight_scale;
    const __m512 one = _mm512_set1_ps(1.0f);
    const __m512 w0 = by ? _mm512_maskz_loadu_ps(e0, by) : one;
    const __m512 w1 = by ? _mm512_maskz_loadu_ps(e1, by + 16) : one;
    const __m512 b0 = has_bias ? _mm512_maskz_loadu_ps(e0, plan->bias) : w0;
    const __m512 b1 = has_bias ? _mm512_maskz_loadu_ps(e1, plan->bias + 16) : w1;

    for (size_t r = 0; r < rows; r++) {
        const __m512 s = _mm512_set1_ps(scale[r]);

        _mm512_mask_storeu_ps(out, e0, outputs_of(sums, s, w0, b0, has_bias));
        _mm512_mask_storeu_ps(out + 16, e1, outputs_of(sums + 16, s, w1, b1, has_bias));
        sums += EE_DIGITS * TILE_OUTS;
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
        for (size_t r = 0; r < rows; r++) {
            _mm512_mask_storeu_epi32(out, plan->exists[0], sums_of(sums));
            _mm512_mask_storeu_epi32(out + 16, plan->exists[1], sums_of(sums + 16));
            sums += EE_DIGITS * TILE_OUTS;
            out += plan->out_stride;
        }
    }
}

/* A tile of `rows` rows, a constant where this is called, so that the sums stay in registers. */
static inline __attribute__((always_inline)) void
products_tile(float *out, const int8_t *q, const int8_t *low, const float *scale,
              const int32_t *excess, const int8_t *packed, size_t rows, const tile_plan *plan)
{
    const size_t out_stride = plan->out_stride, q_stride = plan->q_stride;

#define IS_THERE(r) (r / EE_DIGITS < rows)
#define IS_HIGH(r) (EE_DIGITS == 2 && r % 2 == 0)
#define ROW_OF(r) (IS_THERE(r) ? r / EE_DIGITS : 0)
#define BEGIN(r)                                                                      \
    __m512i row##r[2];                                                                \
    begin_row(row##r, out + ROW_OF(r) * out_stride, excess[ROW_OF(r)], IS_HIGH(r), plan);
    EACH_ROW(BEGIN)
#undef BEGIN

    for (size_t i = 0; i < plan->depth; i += 4) {
        const __m512i w0 = _mm512_loadu_si512(packed + i * TILE_OUTS);
        const __m512i w1 = _mm512_loadu_si512(packed + i * TILE_OUTS + 64);
#define ADD(r)                                                                        \
        if (IS_THERE(r)) {                                                            \
            add_products(row##r, (EE_DIGITS == 1 || IS_HIGH(r) ? q : low)             \
                                     + ROW_OF(r) * q_stride + i, w0, w1);             \
        }
        EACH_ROW(ADD)
#undef ADD
    }

    int32_t sums[TILE_DIGITS * TILE_OUTS] __attribute__((aligned(64)));
#define STORE(r)                                                                      \
    if (IS_THERE(r)) {                                                                \
        _mm512_store_si512(sums + r * TILE_OUTS, row##r[0]);                          \
        _mm512_store_si512(sums + r * TILE_OUTS + 16, row##r[1]);                     \
    }
    EACH_ROW(STORE)
#undef STORE
#undef ROW_OF
#undef IS_HIGH
#undef IS_THERE
    end_tile(out, sums, scale, rows, plan);
}

/* A function for each number of rows: inlined into the loops over tiles, GCC keeps their counters
 * in registers and the sums in memory. */
typedef void tile_function(float *out, const int8_t *q, const int8_t *low, const float *scale,
                           const int32_t *excess, const int8_t *packed, const tile_plan *plan);

#if EE_DIGITS == 1
#define EACH_TILE EACH_ROW
#else
#define EACH_TILE(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5)
#endif
#define TILE(r)                                                                       \
    static __attribute__((noinline)) void                                             \
    rows_up_to_##r(float *out, const int8_t *q, const int8_t *low, const float *scale, \
                   const int32_t *excess, const int8_t *packed, const tile_plan *plan) \
    {                                                                                 \
        products_tile(out, q, low, scale, excess, packed, r + 1, plan);               \
    }
EACH_TILE(TILE)
#undef TILE

/* 128 high + low, modulo 2^32. */
static inline int32_t joined(int32_t high, int32_t low)
{
    return (int32_t)((uint32_t)high * 128 + (uint32_t)low);
}

/* The first `count` lanes. */
static inline __mmask16 first_lanes(size_t count)
{
    return (__mmask16)((1u << ee_size_min(count, 16)) - 1);
}

/* All of at most ROW_BLOCK rows. */
static void products_rows(float *out, const int8_t *q, const int8_t *low, const float *scale,
                          const int8_t *weight, const float *weight_scale, const float *bias,
                          size_t rows, size_t padded, size_t outs,
                          size_t out_stride, size_t q_stride, size_t weight_stride)
{
#define TILE(r) rows_up_to_##r,
    static tile_function *const rows_up_to[TILE_ROWS] = {EACH_TILE(TILE)};
#undef TILE
    const int is_packed = weight_stride == 0;
    const size_t packed_stride = ee_packed_stride_qs8(padded);
    int8_t panel[TILE_OUTS * IN_BLOCK] __attribute__((aligned(64)));
    int32_t excess[ROW_BLOCK];
    const size_t step = ee_even_part(rows, TILE_ROWS);
    const size_t tiles = rows / step + (rows % step != 0);

    for (size_t t = 0; t < rows; t++) {
        const int32_t of_q = row_excess(q + t * q_stride, padded);

        excess[t] = EE_DIGITS == 1 ? of_q : joined(of_q, row_excess(low + t * q_stride, padded));
    }
    for (size_t i = 0; i < padded; i += IN_BLOCK) {
        const size_t depth = ee_size_min(padded - i, IN_BLOCK);

        for (size_t o = 0; o < outs; o += TILE_OUTS) {
            const size_t width = ee_size_min(outs - o, TILE_OUTS);
            const tile_plan plan = {
                .is_first = i == 0, .is_last = i + depth == padded, .depth = depth,
                .exists = {first_lanes(width), first_lanes(width > 16 ? width - 16 : 0)},
                .out_stride = out_stride, .q_stride = q_stride,
                .weight_scale = weight_scale ? weight_scale + o : NULL,
                .bias = bias ? bias + o : NULL,
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
                const size_t at = t * q_stride + i;
                const size_t last = ee_size_min(rows - t, step) - 1;

                rows_up_to[last](to, q + at, EE_DIGITS == 1 ? NULL : low + at, scale + t,
                                 excess + t, packed, &plan);
            }
        }
    }
}

/* q: the rows of a digit; low: those of the second digit, or NULL. The others as of a linear op,
 * weight_scale may be NULL for ones. */
static inline void products_vnni(float *out, const int8_t *q, const int8_t *low, const float *scale,
                                 const int8_t *weight, const float *weight_scale, const float *bias,
                                 size_t rows, size_t in, size_t outs,
                                 size_t out_stride, size_t q_stride, size_t weight_stride)
{
    const size_t step = ee_even_part(rows, ROW_BLOCK);

    for (size_t t = 0; t < rows; t += step) {
        products_rows(out + t * out_stride, q + t * q_stride,
                      EE_DIGITS == 1 ? NULL : low + t * q_stride, scale + t, weight, weight_scale,
                      bias, ee_size_min(rows - t, step), ee_row_stride_qs8(in), outs, out_stride,
                      q_stride, weight_stride);
    }
}

EE_TARGET_END

#endif
