/* ee_exact_simd128.h: the float operations of int8 mode (docs/numerics.md), four lanes at once.
 * Every lane does what ee_exact.h does, in the same order, so the bytes are the same: WebAssembly
 * has no fused multiply-add here that a compiler could make of a product and a sum. */
#ifndef EE_EXACT_SIMD128_H
#define EE_EXACT_SIMD128_H

#include "ee_exact.h"
#include "ee_qs8.h"
#include "ee_vector_simd128.h"

/* The eight lanes of SUM. */
typedef struct {
    ee_vec low, high;
} ee_lanes8;

/* The first 8 of `count` floats, +0 where there are fewer. */
static inline ee_lanes8 ee_exact_load(const float *x, size_t count)
{
    return (ee_lanes8){ee_load_part(x, count),
                       count > 4 ? ee_load_part(x + 4, count - 4) : ee_set(0.0f)};
}

/* Writes 8 floats, or only the first `count`. */
static inline void ee_exact_store(float *out, ee_lanes8 v, size_t count)
{
    ee_store_part(out, v.low, count);
    if (count > 4) {
        ee_store_part(out + 4, v.high, count - 4);
    }
}

/* v in the first `count` lanes, +0 in the others. */
static inline ee_lanes8 ee_exact_keep(ee_lanes8 v, size_t count)
{
    const int32_t kept = count < 8 ? (int32_t)count : 8;
    const ee_ints low = {0, 1, 2, 3}, high = {4, 5, 6, 7};

    return (ee_lanes8){(ee_vec)((ee_ints)v.low & (low < kept)),
                       (ee_vec)((ee_ints)v.high & (high < kept))};
}

static inline ee_lanes8 ee_exact_add(ee_lanes8 a, ee_lanes8 b)
{
    return (ee_lanes8){a.low + b.low, a.high + b.high};
}

static inline ee_lanes8 ee_exact_sub(ee_lanes8 a, float b)
{
    return (ee_lanes8){a.low - b, a.high - b};
}

static inline ee_lanes8 ee_exact_mul(ee_lanes8 a, ee_lanes8 b)
{
    return (ee_lanes8){a.low * b.low, a.high * b.high};
}

static inline ee_lanes8 ee_exact_scale(ee_lanes8 a, float b)
{
    return (ee_lanes8){a.low * b, a.high * b};
}

static inline ee_vec ee_exact_magnitude(ee_vec v)
{
    return (ee_vec)((ee_ints)v & 0x7FFFFFFF);
}

static inline ee_vec ee_exact_flush4(ee_vec v)
{
    return (ee_vec)((ee_ints)v & (ee_exact_magnitude(v) >= EE_SMALLEST));
}

static inline ee_lanes8 ee_exact_flush(ee_lanes8 v)
{
    return (ee_lanes8){ee_exact_flush4(v.low), ee_exact_flush4(v.high)};
}

/* The tree of SUM: lanes 4 apart, then 2, then 1. */
static inline float ee_exact_sum(ee_lanes8 lanes)
{
    const ee_vec four = lanes.low + lanes.high;

    return (four[0] + four[2]) + (four[1] + four[3]);
}

/* max |x[i]|, 0 without values. */
static inline float ee_exact_largest_magnitude(const float *x, size_t count)
{
    ee_vec max = ee_set(0.0f), other = max;
    size_t i = 0;

    for (; i + 8 <= count; i += 8) {
        max = ee_larger(max, ee_exact_magnitude(ee_load(x + i)));
        other = ee_larger(other, ee_exact_magnitude(ee_load(x + i + 4)));
    }
    for (; i < count; i += 4) {
        max = ee_larger(max, ee_exact_magnitude(ee_load_part(x + i, count - i)));
    }
    return ee_largest_lane(ee_larger(max, other));
}

/* MAX of a row, count at least 1. */
static inline float ee_exact_max(const float *x, size_t count)
{
    ee_vec max = ee_set(x[0]);

    for (size_t i = 0; i < count; i += 4) {
        max = ee_larger(max, ee_load_or(x + i, count - i, x[0]));
    }
    return ee_largest_lane(max) + 0.0f;
}

static inline ee_vec ee_exact_exp4(ee_vec x)
{
    x = ee_smaller(ee_larger(x, ee_set(-87.0f)), ee_set(88.0f));

    const ee_vec shifted = x * 0x1.715476p+0f + 0x1.8p+23f;
    const ee_vec n = shifted - 0x1.8p+23f;
    const ee_vec r = (x - n * 0x1.63p-1f) - n * -0x1.bd0106p-13f;
    ee_vec p = ee_set(0x1.a0d2cep-13f);

    p = p * r + 0x1.6e879cp-10f;
    p = p * r + 0x1.11121p-7f;
    p = p * r + 0x1.555382p-5f;
    p = p * r + 0x1.555554p-3f;
    p = p * r + 0x1p-1f;
    return ((p * (r * r) + r) + 1.0f) * (ee_vec)(((ee_ints)shifted + 127) << 23);
}

static inline ee_lanes8 ee_exact_exp(ee_lanes8 x)
{
    return (ee_lanes8){ee_exact_exp4(x.low), ee_exact_exp4(x.high)};
}

/* value / (1 + exp(-gate)) */
static inline ee_vec ee_exact_gate(ee_vec value, ee_vec gate)
{
    return value / (1.0f + ee_exact_exp4(-gate));
}

/* round(x) of up to 4 of `count` values times a factor, half to even, as ee_round_int; 0 in lanes
 * without a value. */
static inline ee_ints ee_exact_round(const float *x, size_t count, float factor)
{
    const ee_vec shifted = ee_load_part(x, count) * factor + 0x1.8p+23f;

    return (ee_ints)shifted - 0x4B400000;
}

/* Four vectors of int32 in -127..127 as 16 int8. */
static inline void ee_exact_store_bytes(int8_t *to, const ee_ints v[4])
{
    const v128_t low = wasm_i16x8_narrow_i32x4((v128_t)v[0], (v128_t)v[1]);
    const v128_t high = wasm_i16x8_narrow_i32x4((v128_t)v[2], (v128_t)v[3]);

    wasm_v128_store(to, wasm_i8x16_narrow_i16x8(low, high));
}

/* Up to four outputs of a linear op from their integer sums, as ee_store_sum; bias may be NULL. */
static inline void ee_exact_store_sums(float *out, ee_ints sums, float scale,
                                       const float *weight_scale, const float *bias, size_t count)
{
    const ee_vec factor = ee_load_part(weight_scale, count) * scale;
    ee_vec y = __builtin_convertvector(sums, ee_vec) * factor;

    if (bias) {
        y = y + ee_load_part(bias, count);
    }
    ee_store_part(out, y, count);
}

#endif
