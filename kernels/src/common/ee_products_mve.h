/* ee_products_mve.h: int8 products with the vector instructions of Arm M. */
#ifndef EE_PRODUCTS_MVE_H
#define EE_PRODUCTS_MVE_H

#include <arm_mve.h>

#include "ee_qs8.h"

/* Two rows by two outputs: four loads of 16 bytes feed four VMLADAVA, each of which multiplies 16
 * pairs and adds them all to one general register; a core that overlaps loads and products keeps
 * both busy. More sums do not fit, for only even registers will do. Rows begin aligned and are
 * padded to whole vectors, so no load is predicated. */
typedef struct {
    int32_t row0[2], row1[2]; /* by output */
} products;

static inline __attribute__((always_inline)) products
products_2x2(const int8_t *q, const int8_t *weight, size_t groups, size_t q_stride,
             size_t weight_stride)
{
    const int8_t *q1 = q + q_stride;
    const int8_t *weight1 = weight + weight_stride;
    int32_t sum00 = 0, sum01 = 0, sum10 = 0, sum11 = 0;

    do {
        const int8x16_t x0 = vldrbq_s8(q);
        const int8x16_t w0 = vldrbq_s8(weight);
        const int8x16_t x1 = vldrbq_s8(q1);
        const int8x16_t w1 = vldrbq_s8(weight1);

        sum00 = vmladavaq_s8(sum00, x0, w0);
        sum10 = vmladavaq_s8(sum10, x1, w0);
        sum01 = vmladavaq_s8(sum01, x0, w1);
        sum11 = vmladavaq_s8(sum11, x1, w1);
        q += 16;
        q1 += 16;
        weight += 16;
        weight1 += 16;
    } while (--groups > 0);

    const products sums = {{sum00, sum01}, {sum10, sum11}};
    return sums;
}

/* The sums of a row for four outputs, for what is done in floats. The compiler fills one lane after
 * another, where an instruction fills two, first the lower one. */
static inline int32x4_t four_sums(const int32_t a[2], const int32_t b[2])
{
    int32x4_t sums;

    __asm__("vmov %q0[2], %q0[0], %1, %2" : "=w"(sums) : "r"(a[0]), "r"(b[0]));
    __asm__("vmov %q0[3], %q0[1], %1, %2" : "+w"(sums) : "r"(a[1]), "r"(b[1]));
    return sums;
}

static inline int32_t product_1x1(const int8_t *q, const int8_t *weight, size_t groups)
{
    int32_t sum = 0;

    for (; groups > 0; groups--) {
        sum = vmladavaq_s8(sum, vldrbq_s8(q), vldrbq_s8(weight));
        q += 16;
        weight += 16;
    }
    return sum;
}

#endif
