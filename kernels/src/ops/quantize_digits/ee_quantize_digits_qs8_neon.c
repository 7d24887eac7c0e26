#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_NEON

#include <string.h>

#include "../../common/ee_exact_neon.h"
#include "../../common/ee_target.h"

enum { GROUP = 16 };

/* Both digits of up to 16 of `count` values, zeros behind them. */
static inline __attribute__((always_inline)) void
store_digits(int8_t *high, int8_t *low, const float *x, size_t count, float inverse)
{
    int32x4_t p[4], highs[4];

    EE_UNROLL
    for (size_t i = 0; i < 4; i++) {
        p[i] = vdupq_n_s32(0);
        if (count > 4 * i) {
            const float32x4_t v = ee_neon_load(x + 4 * i, count - 4 * i, 0.0f);
            p[i] = vcvtnq_s32_f32(vmulq_n_f32(v, inverse)); /* rounds to even */
        }
        highs[i] = vrshrq_n_s32(p[i], 7); /* adds 64 first */
        p[i] = vsubq_s32(p[i], vshlq_n_s32(highs[i], 7));
    }
    vst1q_s8(high, ee_exact_pack(highs));
    vst1q_s8(low, ee_exact_pack(p));
}

void ee_quantize_digits_qs8_neon(int8_t *high, int8_t *low, float *scale, const float *x,
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
