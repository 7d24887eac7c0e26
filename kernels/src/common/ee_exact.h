/* ee_exact.h: the float operations of docs/numerics.md whose results are the same bytes everywhere.
 *
 * Each operation is one IEEE 754 binary32 operation, rounded to nearest even, in the order written:
 * no libm, and no fused multiply-add (the library is compiled with -ffp-contract=off). */
#ifndef EE_EXACT_H
#define EE_EXACT_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint32_t ee_float_bits(float x)
{
    uint32_t bits;

    memcpy(&bits, &x, sizeof(bits));
    return bits;
}

static inline float ee_bits_float(uint32_t bits)
{
    float x;

    memcpy(&x, &bits, sizeof(x));
    return x;
}

/* Neither NaN nor infinite; by bits, which is quick where floats are emulated. */
static inline int ee_is_finite(float x)
{
    return (ee_float_bits(x) & 0x7F800000u) != 0x7F800000u;
}

/* What FLUSH leaves as it is, so that products are not subnormal. */
#define EE_SMALLEST 0x1p-50f

/* FLUSH(x); by bits, which is quick where floats are emulated. */
static inline float ee_flush(float x)
{
    return (ee_float_bits(x) & 0x7FFFFFFFu) < ee_float_bits(EE_SMALLEST) ? 0.0f : x;
}

/* x + 1.5 * 2^23, |x| <= 2^22: the sum has no bits left for a fraction, so that it is rounded to an
 * integer, half to even, which its low bits hold. */
static inline float ee_shifted(float x)
{
    return x + 0x1.8p+23f;
}

/* round(x), |x| <= 2^22 */
static inline float ee_round(float x)
{
    return ee_shifted(x) - 0x1.8p+23f;
}

/* round(x) as an integer; by bits, for the conversion of a float out of range is undefined in C. */
static inline int32_t ee_round_int(float x)
{
    return (int32_t)(ee_float_bits(ee_shifted(x)) - 0x4B400000u);
}

/* exp(x), -87 <= x <= 88. x = n ln 2 + r with |r| <= ln 2 / 2; ln 2 is taken away in two parts,
 * the first short enough for its multiples to be exact. The polynomial is that of Cephes expf. */
static inline float ee_exp_in_range(float x)
{
    const float shifted = ee_shifted(x * 0x1.715476p+0f);
    const float n = shifted - 0x1.8p+23f;
    const float r = (x - n * 0x1.63p-1f) - n * -0x1.bd0106p-13f;
    float p = 0x1.a0d2cep-13f;

    p = p * r + 0x1.6e879cp-10f;
    p = p * r + 0x1.11121p-7f;
    p = p * r + 0x1.555382p-5f;
    p = p * r + 0x1.555554p-3f;
    p = p * r + 0x1p-1f;
    /* 2^n: the bits of `shifted` above the integer leave at the left. */
    return ((p * (r * r) + r) + 1.0f) * ee_bits_float((ee_float_bits(shifted) + 127) << 23);
}

/* exp(min(max(x, -87), 88)) */
static inline float ee_exp(float x)
{
    if (x < -87.0f) {
        x = -87.0f;
    }
    if (x > 88.0f) {
        x = 88.0f;
    }
    return ee_exp_in_range(x);
}

/* log(x), x > 0 and not subnormal. x = 2^e (1 + m), 1 + m in [sqrt(1/2), sqrt(2)); the polynomial
 * is that of Cephes logf. */
static inline float ee_log(float x)
{
    const uint32_t sqrt_half = 0x3F3504F3u;
    const uint32_t i = ee_float_bits(x) - sqrt_half;
    /* i >> 23 with its sign: the shift of a negative number is the compiler's choice in C. */
    const float e = (float)((int32_t)(i >> 23 ^ 0x100u) - 0x100);
    const float m = ee_bits_float((i & 0x7FFFFFu) + sqrt_half) - 1.0f;
    const float z = m * m;
    float y = 0x1.204376p-4f;

    y = y * m + -0x1.d7a37p-4f;
    y = y * m + 0x1.de4a34p-4f;
    y = y * m + -0x1.fcba9ep-4f;
    y = y * m + 0x1.23d37ep-3f;
    y = y * m + -0x1.555cap-3f;
    y = y * m + 0x1.999d58p-3f;
    y = y * m + -0x1.fffff8p-3f;
    y = y * m + 0x1.555554p-2f;
    y = (y * m) * z;
    y = y + e * -0x1.bd0106p-13f;
    y = y - 0x1p-1f * z;
    return (m + y) + e * 0x1.63p-1f;
}

/* Sum of eight lanes in a fixed tree. */
static inline float ee_sum_lanes(const float lanes[8])
{
    const float a = (lanes[0] + lanes[4]) + (lanes[2] + lanes[6]);
    const float b = (lanes[1] + lanes[5]) + (lanes[3] + lanes[7]);

    return a + b;
}

/* max |x[i]|, 0 without values. */
static inline float ee_largest_magnitude(const float *x, size_t count)
{
    float max = 0.0f;

    for (size_t i = 0; i < count; i++) {
        const float magnitude = x[i] < 0.0f ? -x[i] : x[i];
        max = magnitude > max ? magnitude : max;
    }
    return max;
}

/* MAX(x), count at least 1. */
static inline float ee_max(const float *x, size_t count)
{
    float max = x[0];

    for (size_t i = 1; i < count; i++) {
        max = x[i] > max ? x[i] : max;
    }
    return max + 0.0f;
}

/* SUM(x): lane j adds x[j], x[j + 8], x[j + 16], ... one after another, beginning at +0. */
static inline float ee_sum(const float *x, size_t count)
{
    float lanes[8] = {0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f};

    for (size_t i = 0; i < count; i++) {
        lanes[i % 8] += x[i];
    }
    return ee_sum_lanes(lanes);
}

#endif
