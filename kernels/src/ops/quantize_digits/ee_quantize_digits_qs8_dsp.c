#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_DSP

#include <string.h>

#include "../../common/ee_exact_dsp.h"

void ee_quantize_digits_qs8_dsp(int8_t *high, int8_t *low, float *scale, const float *x,
                                size_t rows, size_t in, size_t q_stride, size_t x_stride)
{
    const size_t padded = ee_row_stride_qs8(in);

    for (size_t t = 0; t < rows; t++, high += q_stride, low += q_stride, x += x_stride) {
        const float max = ee_largest_by_bits(x, in);

        if (max < EE_SMALLEST_MAX) {
            scale[t] = 0.0f;
            memset(high, 0, padded);
            memset(low, 0, padded);
            continue;
        }
        scale[t] = max / EE_TOP_DIGITS;

        const float inverse = EE_TOP_DIGITS / max;
        EE_UNROLL_BY(4)
        for (size_t i = 0; i < in; i++) {
            /* The integer is in the low 15 bits; 64 makes the low digit positive. */
            const uint32_t p = ee_float_bits(ee_shifted(x[i] * inverse)) + 64;
            high[i] = (int8_t)(p >> 7);
            low[i] = (int8_t)((p & 127) - 64);
        }
        for (size_t i = in; i < padded; i++) {
            high[i] = low[i] = 0;
        }
    }
}

#endif
