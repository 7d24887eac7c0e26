#include "ee_waveform.h"

#include <string.h>

/* ---- Sums of doubles, rounded once: the order of the terms and the machine do not count ----
 *
 * Digits of 32 bits, the lowest of which is worth 2^-1074, the least double. A digit holds what 2^31
 * terms add to it; carries are taken at the end. */

enum { DIGIT_BITS = 32, DIGITS = 68, MANTISSA_BITS = 53 };

typedef struct {
    int64_t digits[DIGITS];
} exact_sum;

static uint64_t bits_of(double x)
{
    uint64_t bits;

    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* mantissa * 2^(exponent - 1075), from exponent 1 on; a mantissa of 2^53 is the next power of two */
static double number_of(uint64_t mantissa, uint32_t exponent)
{
    const uint64_t bits = ((uint64_t)(exponent - 1) << (MANTISSA_BITS - 1)) + mantissa;
    double x;

    memcpy(&x, &bits, sizeof x);
    return x;
}

static void add(exact_sum *sum, double x)
{
    const uint64_t bits = bits_of(x);
    const uint32_t exponent = (uint32_t)(bits >> (MANTISSA_BITS - 1)) & 0x7FF;
    const uint64_t fraction = bits & ((1ull << (MANTISSA_BITS - 1)) - 1);
    const uint64_t mantissa = exponent > 0 ? fraction | 1ull << (MANTISSA_BITS - 1) : fraction;
    const uint32_t place = exponent > 0 ? exponent - 1 : 0;
    const uint32_t shift = place % DIGIT_BITS;
    int64_t *const digit = sum->digits + place / DIGIT_BITS;
    const uint64_t low = (mantissa & 0xFFFFFFFF) << shift, high = (mantissa >> 32) << shift;
    const uint64_t middle = (low >> 32) + (high & 0xFFFFFFFF);
    const int64_t sign = bits >> 63 ? -1 : 1;

    digit[0] += sign * (int64_t)(low & 0xFFFFFFFF);
    digit[1] += sign * (int64_t)middle;
    digit[2] += sign * (int64_t)(high >> 32);
}

/* The digits become those of the absolute value, each below 2^32; whether it was negative. */
static int carry(exact_sum *sum)
{
    int is_negative = 0;

    for (int pass = 0; pass < 2; pass++) {
        int64_t over = 0;

        for (size_t i = 0; i < DIGITS; i++) {
            const int64_t digit = sum->digits[i] + over;
            const int64_t rest = digit & 0xFFFFFFFF;

            over = (digit - rest) / ((int64_t)1 << DIGIT_BITS);
            sum->digits[i] = rest;
        }
        if (over == 0) {
            break;
        }
        /* Below zero: again with all signs turned. */
        is_negative = 1;
        sum->digits[DIGITS - 1] += over * ((int64_t)1 << DIGIT_BITS);
        for (size_t i = 0; i < DIGITS; i++) {
            sum->digits[i] = -sum->digits[i];
        }
    }
    return is_negative;
}

static int bit_at(const exact_sum *sum, size_t place)
{
    return (int)(sum->digits[place / DIGIT_BITS] >> place % DIGIT_BITS) & 1;
}

/* The nearest double, the even one of two. */
static double rounded(exact_sum *sum)
{
    const int is_negative = carry(sum);
    size_t top = DIGITS * DIGIT_BITS;
    uint64_t mantissa = 0;

    while (top > 0 && !bit_at(sum, top - 1)) {
        top--;
    }
    const size_t lowest = top > MANTISSA_BITS ? top - MANTISSA_BITS : 0;
    for (size_t place = top; place-- > lowest;) {
        mantissa = mantissa << 1 | (uint64_t)bit_at(sum, place);
    }
    if (lowest > 0 && bit_at(sum, lowest - 1)) {
        int is_more = (int)(mantissa & 1);
        for (size_t place = 0; place + 1 < lowest && !is_more; place++) {
            is_more = bit_at(sum, place);
        }
        mantissa += (uint64_t)is_more;
    }
    const double result = number_of(mantissa, (uint32_t)lowest + 1);
    return is_negative ? -result : result;
}

/* The square root of a normal number, correctly rounded, a bit at a time: libm's is not everywhere.
 */
static double square_root(double x)
{
    const uint64_t bits = bits_of(x);
    const uint32_t exponent = (uint32_t)(bits >> (MANTISSA_BITS - 1));
    const uint64_t fraction = bits & ((1ull << (MANTISSA_BITS - 1)) - 1);
    /* x = mantissa * 4^n * 2^-52 with mantissa of 53 or 54 bits */
    const int is_odd = (exponent - 1023) & 1;
    const uint64_t mantissa = (fraction | 1ull << (MANTISSA_BITS - 1)) << is_odd;
    uint64_t root = 0, rest = 0;

    /* The root of mantissa * 2^54, of 54 bits: one more than are kept. */
    for (int i = MANTISSA_BITS; i >= 0; i--) {
        const int at = 2 * i - MANTISSA_BITS - 1; /* two bits of the number from here on */
        const uint64_t next = at >= 0 ? mantissa >> at & 3 : 0;

        rest = rest << 2 | next;
        root <<= 1;
        if (rest >= (root << 1 | 1)) {
            rest -= root << 1 | 1;
            root |= 1;
        }
    }
    const uint64_t kept = root >> 1;
    const int32_t half = ((int32_t)exponent - 1023 - is_odd) / 2;

    return number_of(kept + (uint64_t)(root & 1 && (rest > 0 || (kept & 1))),
                     (uint32_t)(half + 1023));
}

/* ---- The front ends (ee_ref/frontend/waveform.py) ---- */

/* Zero mean and unit variance; 1e-7 keeps silence silent. */
static void normalise(float *out, const ee_utterance *audio, size_t first, size_t frames)
{
    exact_sum sum = {{0}}, squares = {{0}};

    for (size_t i = 0; i < audio->count; i++) {
        add(&sum, ee_sample_at(audio, i));
    }
    const double mean = rounded(&sum) / (double)audio->count;
    for (size_t i = 0; i < audio->count; i++) {
        const double centred = ee_sample_at(audio, i) - mean;
        add(&squares, centred * centred);
    }
    const double deviation = square_root(rounded(&squares) / (double)audio->count + 1e-7);
    for (size_t t = 0; t < frames; t++) {
        out[t] = (float)((ee_sample_at(audio, first + t) - mean) / deviation);
    }
}

void ee_waveform(float *out, const ee_frontend *frontend, const ee_utterance *audio, size_t first,
                 size_t frames)
{
    if (frontend->kind == EE_FRONTEND_WAVEFORM) {
        normalise(out, audio, first, frames);
        return;
    }
    for (size_t t = 0; t < frames; t++) {
        out[t] = ee_sample_at(audio, first + t);
    }
}
