#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_NEON

#include <string.h>

#include "../../common/ee_exact_neon.h"
#include "../../common/ee_target.h"

enum { GROUP = 16 };

/* 16 values rounded to even; lanes without a value are 0. */
static inline int8x16_t quantize_group(const float *x, size_t count, float inverse)
{
    int32x4_t v[4];

    EE_UNROLL
    for (size_t i = 0; i < 4; i++) {
        const float32x4_t f = count > 4 * i ? ee_neon_load(x + 4 * i, count - 4 * i, 0.0f)
                                            : vdupq_n_f32(0.0f);
        v[i] = vcvtnq_s32_f32(vmulq_n_f32(f, inverse));
    }
    return ee_exact_pack(v);
}

void ee_quantize_qs8_neon(int8_t *q, float *scale, const float *x, size_t rows, size_t in,
                          size_t q_stride, size_t x_stride)
{
    const size_t whole = in - in % GROUP;

    for (size_t t = 0; t < rows; t++) {
        const float *row = x + t * x_stride;
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
            vst1q_s8(to + i, quantize_group(row + i, GROUP, inverse));
        }
        if (whole < in) {
            vst1q_s8(to + whole, quantize_group(row + whole, in - whole, inverse));
        }
    }
}

#endif
