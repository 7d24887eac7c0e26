/* ee_exact_neon.h: the float operations of int8 mode (docs/numerics.md), four lanes at once. Every
 * lane does what ee_exact.h does, in the same order, so the bytes are the same: a product and a sum
 * are two operations, which -ffp-contract=off keeps apart in intrinsics too. */
#ifndef EE_EXACT_NEON_H
#define EE_EXACT_NEON_H

#include "ee_exact.h"
#include "ee_neon.h"
#include "ee_qs8.h"
#include "ee_target.h"

/* The eight lanes of SUM. */
typedef struct {
    float32x4_t low, high;
} ee_lanes8;

/* The first 8 of `count` floats, +0 where there are fewer. */
static inline ee_lanes8 ee_exact_load(const float *x, size_t count)
{
    ee_lanes8 v;

    v.low = ee_neon_load(x, count, 0.0f);
    v.high = count > 4 ? ee_neon_load(x + 4, count - 4, 0.0f) : vdupq_n_f32(0.0f);
    return v;
}

/* Writes 8 floats, or only the first `count`. */
static inline void ee_exact_store(float *out, ee_lanes8 v, size_t count)
{
    ee_neon_store(out, v.low, count);
    if (count > 4) {
        ee_neon_store(out + 4, v.high, count - 4);
    }
}

/* v in the first `count` lanes, +0 in the others. */
static inline ee_lanes8 ee_exact_keep(ee_lanes8 v, size_t count)
{
    static const uint32_t ONES_ZEROS[16] = {~0u, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u};

    if (count < 8) {
        const uint32x4_t low = vld1q_u32(ONES_ZEROS + 8 - count);
        const uint32x4_t high = vld1q_u32(ONES_ZEROS + 12 - count);
        v.low = vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(v.low), low));
        v.high = vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(v.high), high));
    }
    return v;
}

static inline ee_lanes8 ee_exact_add(ee_lanes8 a, ee_lanes8 b)
{
    a.low = vaddq_f32(a.low, b.low);
    a.high = vaddq_f32(a.high, b.high);
    return a;
}

static inline ee_lanes8 ee_exact_sub(ee_lanes8 a, float b)
{
    a.low = vsubq_f32(a.low, vdupq_n_f32(b));
    a.high = vsubq_f32(a.high, vdupq_n_f32(b));
    return a;
}

static inline ee_lanes8 ee_exact_mul(ee_lanes8 a, ee_lanes8 b)
{
    a.low = vmulq_f32(a.low, b.low);
    a.high = vmulq_f32(a.high, b.high);
    return a;
}

static inline ee_lanes8 ee_exact_scale(ee_lanes8 a, float b)
{
    a.low = vmulq_n_f32(a.low, b);
    a.high = vmulq_n_f32(a.high, b);
    return a;
}

static inline float32x4_t ee_exact_flush4(float32x4_t v)
{
    const uint32x4_t counts = vcageq_f32(v, vdupq_n_f32(EE_SMALLEST));

    return vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(v), counts));
}

static inline ee_lanes8 ee_exact_flush(ee_lanes8 v)
{
    v.low = ee_exact_flush4(v.low);
    v.high = ee_exact_flush4(v.high);
    return v;
}

/* The tree of SUM: lanes 4 apart, then 2, then 1. */
static inline float ee_exact_sum(ee_lanes8 lanes)
{
    const float32x4_t four = vaddq_f32(lanes.low, lanes.high);
    const float32x2_t two = vadd_f32(vget_low_f32(four), vget_high_f32(four));

    return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
}

/* max |x[i]|, 0 without values. */
static inline float ee_exact_largest_magnitude(const float *x, size_t count)
{
    float32x4_t max[4];
    size_t i = 0;

    EE_UNROLL
    for (size_t v = 0; v < 4; v++) {
        max[v] = vdupq_n_f32(0.0f);
    }
    for (; i + 16 <= count; i += 16) {
        EE_UNROLL
        for (size_t v = 0; v < 4; v++) {
            max[v] = vmaxq_f32(max[v], vabsq_f32(vld1q_f32(x + i + 4 * v)));
        }
    }
    for (; i < count; i += 4) {
        max[0] = vmaxq_f32(max[0], vabsq_f32(ee_neon_load(x + i, count - i, 0.0f)));
    }
    return vmaxvq_f32(vmaxq_f32(vmaxq_f32(max[0], max[1]), vmaxq_f32(max[2], max[3])));
}

/* MAX of a row, count at least 1. */
static inline float ee_exact_max(const float *x, size_t count)
{
    float32x4_t max = vdupq_n_f32(x[0]);

    for (size_t i = 0; i < count; i += 4) {
        max = vmaxq_f32(max, ee_neon_load(x + i, count - i, x[0]));
    }
    return vmaxvq_f32(max) + 0.0f;
}

static inline float32x4_t ee_exact_exp4(float32x4_t x)
{
    const float32x4_t rounder = vdupq_n_f32(0x1.8p+23f);

    x = vminq_f32(vmaxq_f32(x, vdupq_n_f32(-87.0f)), vdupq_n_f32(88.0f));

    const float32x4_t shifted = vaddq_f32(vmulq_f32(x, vdupq_n_f32(0x1.715476p+0f)), rounder);
    const float32x4_t n = vsubq_f32(shifted, rounder);
    const float32x4_t high = vsubq_f32(x, vmulq_f32(n, vdupq_n_f32(0x1.63p-1f)));
    const float32x4_t r = vsubq_f32(high, vmulq_f32(n, vdupq_n_f32(-0x1.bd0106p-13f)));
    float32x4_t p = vdupq_n_f32(0x1.a0d2cep-13f);

    p = vaddq_f32(vmulq_f32(p, r), vdupq_n_f32(0x1.6e879cp-10f));
    p = vaddq_f32(vmulq_f32(p, r), vdupq_n_f32(0x1.11121p-7f));
    p = vaddq_f32(vmulq_f32(p, r), vdupq_n_f32(0x1.555382p-5f));
    p = vaddq_f32(vmulq_f32(p, r), vdupq_n_f32(0x1.555554p-3f));
    p = vaddq_f32(vmulq_f32(p, r), vdupq_n_f32(0x1p-1f));
    p = vaddq_f32(vmulq_f32(p, vmulq_f32(r, r)), r);
    p = vaddq_f32(p, vdupq_n_f32(1.0f));

    const int32x4_t biased = vaddq_s32(vreinterpretq_s32_f32(shifted), vdupq_n_s32(127));
    return vmulq_f32(p, vreinterpretq_f32_s32(vshlq_n_s32(biased, 23)));
}

static inline ee_lanes8 ee_exact_exp(ee_lanes8 x)
{
    x.low = ee_exact_exp4(x.low);
    x.high = ee_exact_exp4(x.high);
    return x;
}

/* value / (1 + exp(-gate)) */
static inline float32x4_t ee_exact_gate(float32x4_t value, float32x4_t gate)
{
    return vdivq_f32(value, vaddq_f32(vdupq_n_f32(1.0f), ee_exact_exp4(vnegq_f32(gate))));
}

/* Up to four outputs of a linear op from their integer sums, as ee_store_sum; bias may be NULL. */
static inline void ee_exact_store_sums(float *out, int32x4_t sums, float scale,
                                       const float *weight_scale, const float *bias, size_t count)
{
    const float32x4_t factor = vmulq_n_f32(ee_neon_load(weight_scale, count, 0.0f), scale);
    float32x4_t y = vmulq_f32(vcvtq_f32_s32(sums), factor);

    if (bias) {
        y = vaddq_f32(y, ee_neon_load(bias, count, 0.0f));
    }
    ee_neon_store(out, y, count);
}

/* Four vectors of int32 in -127..127 as 16 int8: the lowest byte of each. */
static inline int8x16_t ee_exact_pack(const int32x4_t v[4])
{
    const int16x8_t low = vuzp1q_s16(vreinterpretq_s16_s32(v[0]), vreinterpretq_s16_s32(v[1]));
    const int16x8_t high = vuzp1q_s16(vreinterpretq_s16_s32(v[2]), vreinterpretq_s16_s32(v[3]));

    return vuzp1q_s8(vreinterpretq_s8_s16(low), vreinterpretq_s8_s16(high));
}

#endif
