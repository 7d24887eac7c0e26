/* ee_products_dsp.h: int8 products with the DSP instructions of Arm M.
 *
 * SMLAD multiplies two pairs of int16 and adds both products to a sum. SXTB16 makes such pairs of
 * bytes 0 and 2 of a word, and of bytes 1 and 3 after a rotation; the order of products is free.
 *
 * Four rows by one output: the rows are widened once for all outputs, on the stack, as far as they
 * fit, and lie there as they are used, so that one load of four words serves two rows. Then four
 * weights cost three instructions to load and widen, shared by four rows, and two loads and eight
 * SMLAD: 13 for 16 products. Weights, which may lie in slow flash, are read in order, once for four
 * rows. */
#ifndef EE_PRODUCTS_DSP_H
#define EE_PRODUCTS_DSP_H

#include <arm_acle.h>
#include <string.h>

#include "ee_qs8.h"
#include "ee_target.h"

enum {
    TILE_ROWS = 4,
    DEPTH = 96 /* values of a row on the stack; a multiple of 16, so that rows stay aligned */
};

/* Of each row the words that four values become, row after row; then those of the next four. */
typedef uint32_t wide_rows[DEPTH / 4 * 2 * TILE_ROWS];

/* The four bytes at `from`, or zeros. */
static inline uint32_t load_word(const int8_t *from, int is_there)
{
    uint32_t word = 0;

    if (is_there) {
        memcpy(&word, __builtin_assume_aligned(from, 4), sizeof(word));
    }
    return word;
}

static inline uint32_t widened(uint32_t word)
{
    return (uint32_t)__sxtb16((int8x4_t)word);
}

/* 128 * high + low in both halves; no half overflows. */
static inline uint32_t joined(uint32_t high, uint32_t low)
{
    const uint32_t other_half = 0x007F0000u; /* what the shift brings from the lower one */

    return (uint32_t)__sadd16((int16x2_t)(widened(high) << 7 & ~other_half),
                              (int16x2_t)widened(low));
}

static inline uint32_t rotated(uint32_t word)
{
    return word >> 8 | word << 24;
}

/* Rows of int8, or with `low` those of two digits; what is behind the last row is zeros. */
static inline __attribute__((always_inline)) void
widen(wide_rows wide, const int8_t *q, const int8_t *low, size_t rows, size_t depth,
      size_t q_stride)
{
    for (size_t r = 0; r < TILE_ROWS; r++) {
        uint32_t *to = wide + 2 * r;

        for (size_t i = 0; i < depth; i += 4, to += 2 * TILE_ROWS) {
            const uint32_t word = load_word(q + r * q_stride + i, r < rows);

            if (low == NULL) {
                to[0] = widened(word);
                to[1] = widened(rotated(word));
            } else {
                const uint32_t digit = load_word(low + r * q_stride + i, r < rows);
                to[0] = joined(word, digit);
                to[1] = joined(rotated(word), rotated(digit));
            }
        }
    }
}

/* For a function that takes all registers there are. A call spills less than code inlined among
 * other variables; without optimisation GCC keeps one for the frame. */
#ifdef __clang__
#define ALL_REGISTERS __attribute__((noinline))
#else
#define ALL_REGISTERS __attribute__((noinline, optimize("O2")))
#endif

/* sums[r] += products of row r with `count` weights, a multiple of 8. Rows of weights are padded to
 * 16, and behind the values of a row are zeros. */
static ALL_REGISTERS void
add_products(int32_t sums[TILE_ROWS], const wide_rows wide, const int8_t *weight, size_t count)
{
    int32_t sum0 = sums[0], sum1 = sums[1], sum2 = sums[2], sum3 = sums[3];
    const uint32_t *x = wide;
    uint32_t even, odd;

    /* The compiler neither loads four words at once nor widens and rotates in one instruction. */
#define FOUR_VALUES                           \
    "ldr %[odd], [%[weight]], #4\n\t"         \
    "sxtb16 %[even], %[odd]\n\t"              \
    "ldmia %[x]!, {r2, r3, r4, r5}\n\t"       \
    "sxtb16 %[odd], %[odd], ror #8\n\t"       \
    "smlad %[sum0], r2, %[even], %[sum0]\n\t" \
    "smlad %[sum1], r4, %[even], %[sum1]\n\t" \
    "smlad %[sum0], r3, %[odd], %[sum0]\n\t"  \
    "smlad %[sum1], r5, %[odd], %[sum1]\n\t"  \
    "ldmia %[x]!, {r2, r3, r4, r5}\n\t"       \
    "smlad %[sum2], r2, %[even], %[sum2]\n\t" \
    "smlad %[sum3], r4, %[even], %[sum3]\n\t" \
    "smlad %[sum2], r3, %[odd], %[sum2]\n\t"  \
    "smlad %[sum3], r5, %[odd], %[sum3]\n\t"
    __asm__("1:\n\t"
            FOUR_VALUES
            "subs %[count], #8\n\t"
            FOUR_VALUES
            "bne 1b"
            : [sum0] "+r"(sum0), [sum1] "+r"(sum1), [sum2] "+r"(sum2), [sum3] "+r"(sum3),
              [x] "+r"(x), [weight] "+r"(weight), [count] "+r"(count), [even] "=&r"(even),
              [odd] "=&r"(odd)
            :
            : "r2", "r3", "r4", "r5", "cc", "memory");
#undef FOUR_VALUES
    sums[0] = sum0;
    sums[1] = sum1;
    sums[2] = sum2;
    sums[3] = sum3;
}

/* The outputs of a tile from some of its values: the first ones, the last ones, both or neither.
 * Until the last ones the sums lie where the outputs will. What is constant where this is called,
 * as `rows` of a whole tile, leaves no branch. */
static inline __attribute__((always_inline)) void
tile(float *out, const wide_rows wide, const float *scale, const int8_t *weight,
     const float *weight_scale, const float *bias, size_t rows, size_t depth, size_t outs,
     size_t out_stride, size_t weight_stride, int is_first, int is_last)
{
    float scales[TILE_ROWS];

    EE_UNROLL
    for (size_t r = 0; r < TILE_ROWS; r++) {
        scales[r] = r < rows ? scale[r] : 0.0f;
    }
    for (size_t o = 0; o < outs; o++, out++, weight += weight_stride) {
        const float by = weight_scale != NULL ? weight_scale[o] : 1.0f;
        int32_t sums[TILE_ROWS] = {0};
        float y[TILE_ROWS];

        EE_UNROLL
        for (size_t r = 0; r < TILE_ROWS; r++) {
            if (r < rows && !is_first) {
                memcpy(&sums[r], out + r * out_stride, sizeof(sums[r]));
            }
        }
        add_products(sums, wide, weight, depth);
        EE_UNROLL
        for (size_t r = 0; r < TILE_ROWS; r++) {
            y[r] = (float)sums[r] * (scales[r] * by);
        }
        if (bias != NULL) {
            const float b = bias[o];
            EE_UNROLL
            for (size_t r = 0; r < TILE_ROWS; r++) {
                y[r] = y[r] + b;
            }
        }
        EE_UNROLL
        for (size_t r = 0; r < TILE_ROWS; r++) {
            if (r < rows && is_last) {
                out[r * out_stride] = y[r];
            } else if (r < rows) {
                memcpy(out + r * out_stride, &sums[r], sizeof(sums[r]));
            }
        }
    }
}

/* out[t, o] = float(sum_i q[t, i] * weight[o, i]) * (scale[t] * weight_scale[o]) + bias[o], q being
 * int8, or 128 * q + low, of so few values that the sums fit int32. */
static inline __attribute__((always_inline)) void
products_dsp(float *out, const int8_t *q, const int8_t *low, const float *scale,
             const int8_t *weight, const float *weight_scale, const float *bias, size_t rows,
             size_t in, size_t outs, size_t out_stride, size_t q_stride, size_t weight_stride)
{
    const size_t padded = (in + 7) / 8 * 8;

    for (size_t t = 0; t < rows; t += TILE_ROWS) {
        const size_t count = ee_size_min(rows - t, TILE_ROWS);
        float *const y = out + t * out_stride;

        for (size_t i = 0; i < padded; i += DEPTH) {
            const size_t depth = ee_size_min(padded - i, DEPTH);
            const int is_last = i + depth == padded;
            const size_t at = t * q_stride + i;
            wide_rows wide;

            widen(wide, q + at, low != NULL ? low + at : NULL, count, depth, q_stride);
            if (count < TILE_ROWS) {
                tile(y, wide, scale + t, weight + i, weight_scale, bias, count, depth, outs,
                     out_stride, weight_stride, i == 0, is_last);
            } else if (!is_last) {
                tile(y, wide, scale + t, weight + i, weight_scale, bias, TILE_ROWS, depth, outs,
                     out_stride, weight_stride, i == 0, 0);
            } else if (i > 0) {
                tile(y, wide, scale + t, weight + i, weight_scale, bias, TILE_ROWS, depth, outs,
                     out_stride, weight_stride, 0, 1);
            } else {
                tile(y, wide, scale + t, weight, weight_scale, bias, TILE_ROWS, depth, outs,
                     out_stride, weight_stride, 1, 1);
            }
        }
    }
}

#endif
