#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_MVE_FLOATS

#include <string.h>

#include "../../common/ee_exact_mve.h"

static inline void store_digits(int8_t *high, int8_t *low, float32x4_t x, float gain)
{
    const int32x4_t p = vcvtnq_s32_f32(vmulq_n_f32(x, gain)); /* rounds to even */
    const int32x4_t digit = vrshrq_n_s32(p, 7);               /* adds 64 first */

    vstrbq_s32(high, digit);
    vstrbq_s32(low, vsubq_s32(p, vshlq_n_s32(digit, 7)));
}

void ee_quantize_digits_qs8_mve(int8_t *high, int8_t *low, float *scale, const float *x,
                                size_t rows, size_t in, size_t q_stride, size_t x_stride)
{
    const size_t padded = ee_row_stride_qs8(in);

    for (size_t t = 0; t < rows; t++, high += q_stride, low += q_stride, x += x_stride) {
        const float max = ee_mve_largest_magnitude(x, in);
        size_t i = 0;

        if (max < EE_SMALLEST_MAX) {
            scale[t] = 0.0f;
            memset(high, 0, padded);
            memset(low, 0, padded);
            continue;
        }
        scale[t] = max / EE_TOP_DIGITS;

        const float inverse = EE_TOP_DIGITS / max;
        for (; i + 4 <= in; i += 4) {
            store_digits(high + i, low + i, vld1q_f32(x + i), inverse);
        }
        /* The last values have zeros behind them in their vector. */
        for (; i < padded; i += 4) {
            const float32x4_t v
                = i < in ? ee_mve_load(x + i, in - i) : vdupq_n_f32(0.0f);
            store_digits(high + i, low + i, v, inverse);
        }
    }
}

#endif
