#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_SIMD128

#include "../../common/ee_exact_simd128.h"

enum { GROUP = 16 };

/* Both digits of up to 16 of `count` values, zeros behind them. */
static inline __attribute__((always_inline)) void
store_digits(int8_t *high, int8_t *low, const float *x, size_t count, float inverse)
{
    ee_ints p[4], highs[4];

    EE_UNROLL
    for (size_t i = 0; i < 4; i++) {
        p[i] = ee_exact_round(x + 4 * i, count > 4 * i ? count - 4 * i : 0, inverse);
        highs[i] = (p[i] + 64) >> 7;
        p[i] = p[i] - (highs[i] << 7);
    }
    ee_exact_store_bytes(high, highs);
    ee_exact_store_bytes(low, p);
}

void ee_quantize_digits_qs8_simd128(int8_t *high, int8_t *low, float *scale, const float *x,
                                    size_t rows, size_t in, size_t q_stride, size_t x_stride)
{
    const size_t whole = in - in % GROUP;

    for (size_t t = 0; t < rows; t++, high += q_stride, low += q_stride) {
        const float *const row = x + t * x_stride;
        const float max = ee_exact_largest_magnitude(row, in);

        if (max < EE_SMALLEST_MAX) {
            scale[t] = 0.0f;
            memset(high, 0, ee_row_stride_qs8(in));
            memset(low, 0, ee_row_stride_qs8(in));
            continue;
        }
        scale[t] = max / EE_TOP_DIGITS;

        const float inverse = EE_TOP_DIGITS / max;
        for (size_t i = 0; i < whole; i += GROUP) {
            store_digits(high + i, low + i, row + i, GROUP, inverse);
        }
        if (whole < in) {
            store_digits(high + whole, low + whole, row + whole, in - whole, inverse);
        }
    }
}

#endif
