/* ee_neon.h: what the NEON variants share. Four floats a vector. NEON has no masked loads: a last,
 * partial vector of a row goes through a small array, so that no byte outside is touched. */
#ifndef EE_NEON_H
#define EE_NEON_H

#include <arm_neon.h>
#include <stddef.h>

/* The first 4 of `count` floats, `fill` where there are fewer. */
static inline float32x4_t ee_neon_load(const float *x, size_t count, float fill)
{
    float32x4_t v = vdupq_n_f32(fill);

    if (count >= 4) {
        return vld1q_f32(x);
    }
    switch (count) {
    case 3:
        v = vld1q_lane_f32(x + 2, v, 2); /* fall through */
    case 2:
        v = vld1q_lane_f32(x + 1, v, 1); /* fall through */
    case 1:
        v = vld1q_lane_f32(x, v, 0); /* fall through */
    default:
        return v;
    }
}

/* Writes 4 floats, or only the first `count`. */
static inline void ee_neon_store(float *out, float32x4_t v, size_t count)
{
    if (count >= 4) {
        vst1q_f32(out, v);
        return;
    }
    switch (count) {
    case 3:
        vst1q_lane_f32(out + 2, v, 2); /* fall through */
    case 2:
        vst1q_lane_f32(out + 1, v, 1); /* fall through */
    case 1:
        vst1q_lane_f32(out, v, 0); /* fall through */
    default:
        return;
    }
}

/* exp(x) to 1 ulp where the result is normal; 0 for -inf, inf above 88.73, NaN for NaN.
 *
 * x = n ln 2 + r with |r| <= ln 2 / 2, so exp(x) = 2^n exp(r). ln 2 is taken away in two parts, the
 * first short enough for n * LN2_HIGH to be exact. The polynomial is that of Cephes expf (Moshier),
 * exp(r) = 1 + r + r^2 p(r). 2^n is applied as two factors: one alone would leave the exponent's
 * range where the result is subnormal or just below overflow. */
static inline float32x4_t ee_neon_exp(float32x4_t x)
{
    /* Beyond these the result is 0 or infinite. FMAX and FMIN let NaN through. */
    x = vminq_f32(vmaxq_f32(x, vdupq_n_f32(-104.0f)), vdupq_n_f32(89.0f));

    const float32x4_t n = vrndnq_f32(vmulq_n_f32(x, 1.44269504f));
    float32x4_t r = vfmsq_f32(x, n, vdupq_n_f32(0.693359375f));
    r = vfmsq_f32(r, n, vdupq_n_f32(-2.12194440e-4f));

    float32x4_t p = vdupq_n_f32(1.9875691500e-4f);
    p = vfmaq_f32(vdupq_n_f32(1.3981999507e-3f), p, r);
    p = vfmaq_f32(vdupq_n_f32(8.3334519073e-3f), p, r);
    p = vfmaq_f32(vdupq_n_f32(4.1665795894e-2f), p, r);
    p = vfmaq_f32(vdupq_n_f32(1.6666665459e-1f), p, r);
    p = vfmaq_f32(vdupq_n_f32(5.0000001201e-1f), p, r);
    p = vfmaq_f32(r, p, vmulq_f32(r, r));
    p = vaddq_f32(p, vdupq_n_f32(1.0f));

    const int32x4_t one = vdupq_n_s32(127);
    const int32x4_t exponent = vcvtq_s32_f32(n);
    const int32x4_t half = vshrq_n_s32(exponent, 1);
    const int32x4_t rest = vsubq_s32(exponent, half);
    const float32x4_t factor1 = vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(half, one), 23));
    const float32x4_t factor2 = vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(rest, one), 23));
    return vmulq_f32(vmulq_f32(p, factor1), factor2);
}

/* value / (1 + exp(-gate)) */
static inline float32x4_t ee_neon_gate(float32x4_t value, float32x4_t gate)
{
    return vdivq_f32(value, vaddq_f32(vdupq_n_f32(1.0f), ee_neon_exp(vnegq_f32(gate))));
}

#endif
