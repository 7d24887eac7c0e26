#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_SIMD128

#include "../../common/ee_exact_simd128.h"

enum { GROUP = 16 };

/* 16 values rounded to even; lanes without a value are 0. */
static inline void quantize_group(int8_t *q, const float *x, size_t count, float inverse)
{
    ee_ints v[4];

    EE_UNROLL
    for (size_t i = 0; i < 4; i++) {
        v[i] = ee_exact_round(x + 4 * i, count > 4 * i ? count - 4 * i : 0, inverse);
    }
    ee_exact_store_bytes(q, v);
}

void ee_quantize_qs8_simd128(int8_t *q, float *scale, const float *x, size_t rows, size_t in,
                             size_t q_stride, size_t x_stride)
{
    const size_t whole = in - in % GROUP;

    for (size_t t = 0; t < rows; t++) {
        const float *const row = x + t * x_stride;
        int8_t *const to = q + t * q_stride;
        const float max = ee_exact_largest_magnitude(row, in);

        if (max < EE_SMALLEST_MAX) {
            scale[t] = 0.0f;
            memset(to, 0, ee_row_stride_qs8(in));
            continue;
        }
        scale[t] = max / 127.0f;

        const float inverse = 127.0f / max;
        for (size_t i = 0; i < whole; i += GROUP) {
            quantize_group(to + i, row + i, GROUP, inverse);
        }
        if (whole < in) {
            quantize_group(to + whole, row + whole, in - whole, inverse);
        }
    }
}

#endif
