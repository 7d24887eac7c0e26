/* ee_exact_mve.h: the float operations of int8 mode (docs/numerics.md), four lanes at once on the
 * vector unit of Arm M. Every lane does what ee_exact.h does, in the same order, so the bytes are
 * the same, though this unit flushes subnormal numbers: none reaches a result ("Smallest numbers"
 * there).
 *
 * Constants are scalars: the unit has eight vector registers, and multiplies a vector by a general
 * register or adds one to it. */
#ifndef EE_EXACT_MVE_H
#define EE_EXACT_MVE_H

#include <arm_mve.h>

#include "ee_exact.h"
#include "ee_qs8.h"
#include "ee_target.h"

/* The first 4 of `count` floats, +0 where there are fewer. */
static inline float32x4_t ee_mve_load(const float *x, size_t count)
{
    return count >= 4 ? vld1q_f32(x) : vld1q_z_f32(x, vctp32q((uint32_t)count));
}

/* Writes 4 floats, or only the first `count`. */
static inline void ee_mve_store(float *out, float32x4_t v, size_t count)
{
    if (count >= 4) {
        vst1q_f32(out, v);
    } else {
        vst1q_p_f32(out, v, vctp32q((uint32_t)count));
    }
}

/* The eight lanes of SUM. */
typedef struct {
    float32x4_t low, high;
} ee_lanes8;

static inline ee_lanes8 ee_mve_no_sum(void)
{
    const ee_lanes8 lanes = {vdupq_n_f32(0.0f), vdupq_n_f32(0.0f)};

    return lanes;
}

/* The tree of SUM: lanes 4 apart, then 2, then 1. */
static inline float ee_mve_sum(ee_lanes8 lanes)
{
    const float32x4_t four = vaddq_f32(lanes.low, lanes.high);

    return (vgetq_lane_f32(four, 0) + vgetq_lane_f32(four, 2))
           + (vgetq_lane_f32(four, 1) + vgetq_lane_f32(four, 3));
}

/* FLUSH: 2^-76 times what is below 2^-50 is subnormal, and this unit cannot but flush it; the other
 * products are exact. +0 makes -0 +0. A comparison would take two and a half times as long. */
static inline float32x4_t ee_mve_flush(float32x4_t v)
{
    return vaddq_n_f32(vmulq_n_f32(vmulq_n_f32(v, 0x1p-76f), 0x1p+76f), 0.0f);
}

/* max |x[i]|, 0 without values. */
static inline float ee_mve_largest_magnitude(const float *x, size_t count)
{
    float32x4_t max = vdupq_n_f32(0.0f);

    for (; count >= 4; count -= 4, x += 4) {
        max = vmaxnmaq_f32(max, vld1q_f32(x));
    }
    if (count > 0) {
        max = vmaxnmaq_f32(max, ee_mve_load(x, count));
    }
    return vmaxnmvq_f32(0.0f, max);
}

/* MAX of a row, count at least 1. */
static inline float ee_mve_max(const float *x, size_t count)
{
    const float first = x[0];
    float32x4_t max = vdupq_n_f32(first);

    for (; count >= 4; count -= 4, x += 4) {
        max = vmaxnmq_f32(max, vld1q_f32(x));
    }
    if (count > 0) {
        const mve_pred16_t there = vctp32q((uint32_t)count);
        max = vmaxnmq_m_f32(max, max, vld1q_z_f32(x, there), there);
    }
    return vmaxnmvq_f32(first, max) + 0.0f;
}

static inline float32x4_t ee_mve_exp(float32x4_t x)
{
    x = vminnmq_f32(vmaxnmq_f32(x, vdupq_n_f32(-87.0f)), vdupq_n_f32(88.0f));

    const float32x4_t shifted = vaddq_n_f32(vmulq_n_f32(x, 0x1.715476p+0f), 0x1.8p+23f);
    const float32x4_t n = vsubq_n_f32(shifted, 0x1.8p+23f);
    const float32x4_t high = vsubq_f32(x, vmulq_n_f32(n, 0x1.63p-1f));
    const float32x4_t r = vsubq_f32(high, vmulq_n_f32(n, -0x1.bd0106p-13f));
    float32x4_t p = vmulq_n_f32(r, 0x1.a0d2cep-13f);

    p = vmulq_f32(vaddq_n_f32(p, 0x1.6e879cp-10f), r);
    p = vmulq_f32(vaddq_n_f32(p, 0x1.11121p-7f), r);
    p = vmulq_f32(vaddq_n_f32(p, 0x1.555382p-5f), r);
    p = vmulq_f32(vaddq_n_f32(p, 0x1.555554p-3f), r);
    p = vaddq_n_f32(p, 0x1p-1f);
    p = vaddq_f32(vmulq_f32(p, vmulq_f32(r, r)), r);
    p = vaddq_n_f32(p, 1.0f);

    const int32x4_t biased = vaddq_n_s32(vreinterpretq_s32_f32(shifted), 127);

    return vmulq_f32(p, vreinterpretq_f32_s32(vshlq_n_s32(biased, 23)));
}

/* a / b: the vector unit does not divide, the scalar one does, on the same registers. */
static inline float32x4_t ee_mve_divide(float32x4_t a, float32x4_t b)
{
    register float32x4_t quotient __asm__("q0") = a;
    register float32x4_t divisor __asm__("q1") = b;

    __asm__("vdiv.f32 s0, s0, s4\n\t"
            "vdiv.f32 s1, s1, s5\n\t"
            "vdiv.f32 s2, s2, s6\n\t"
            "vdiv.f32 s3, s3, s7"
            : "+w"(quotient) : "w"(divisor));
    return quotient;
}

/* value / (1 + exp(-gate)) */
static inline float32x4_t ee_mve_gate(float32x4_t value, float32x4_t gate)
{
    return ee_mve_divide(value, vaddq_n_f32(ee_mve_exp(vnegq_f32(gate)), 1.0f));
}

#endif
