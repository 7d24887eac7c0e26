/* ee_qs8.h: what the kernels of int8 mode share. */
#ifndef EE_QS8_H
#define EE_QS8_H

#include "ee_kernels_qs8.h"
#include "ee_size.h"

/* A row whose largest magnitude is below this is quantised to zeros, by one digit or two. */
#define EE_SMALLEST_MAX 0x1p-40f

/* The largest integer of two digits, 128 * high + low. */
#define EE_TOP_DIGITS 16256.0f

/* A row of attention's weights whose largest is below this is taken for zeros. */
#define EE_SMALLEST_WEIGHT 0x1p-80f

/* What makes integers of a row's weights, of which the largest is `top`. */
static inline float ee_probability_gain(float top)
{
    return top >= EE_SMALLEST_WEIGHT ? EE_TOP_DIGITS / top : 0.0f;
}

/* What a product of these integers and values is multiplied by; sum: of the exponentials. */
static inline float ee_probability_scale(float top, float sum)
{
    return top >= EE_SMALLEST_WEIGHT ? (top / EE_TOP_DIGITS) / sum : 0.0f;
}

/* Bytes of (rows, columns) floats in scratch, where everything begins at a multiple of 16. */
static inline size_t ee_floats_qs8(size_t rows, size_t columns)
{
    const size_t bytes = ee_size_mul(ee_size_mul(rows, columns), sizeof(float));

    return ee_size_add(bytes, bytes % 16 != 0 ? 16 - bytes % 16 : 0);
}

/* Bytes that (rows, columns) int8 take, each row padded. */
static inline size_t ee_bytes_qs8(size_t rows, size_t columns)
{
    return ee_size_mul(rows, ee_row_stride_qs8(columns));
}

/* Bytes of each output in a matrix that is packed. */
static inline size_t ee_packed_stride_qs8(size_t in)
{
    return (in + EE_PACKED_IN - 1) / EE_PACKED_IN * EE_PACKED_IN;
}

/* The size of a part when `count` is cut into as few parts of at most `most` as it takes, all of one
 * size but for the last. */
static inline size_t ee_even_part(size_t count, size_t most)
{
    const size_t parts = count / most + (count % most != 0);

    return parts == 0 ? 1 : count / parts + (count % parts != 0);
}

/* The next `bytes` bytes of scratch. */
static inline void *ee_take(char **scratch, size_t bytes)
{
    char *const taken = *scratch;

    *scratch += bytes;
    return taken;
}

/* An output of a linear op from its integer sum; bias points to that of the output, or is NULL. */
static inline void ee_store_sum(float *out, int32_t sum, float scale, float weight_scale,
                                const float *bias)
{
    const float y = (float)sum * (scale * weight_scale);

    *out = bias ? y + *bias : y;
}

#endif
