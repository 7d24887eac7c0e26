#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_MVE_FLOATS

#include <string.h>

#include "../../common/ee_exact_mve.h"

/* x * gain, rounded to even */
static inline int32x4_t rounded(float32x4_t x, float gain)
{
    return vcvtnq_s32_f32(vmulq_n_f32(x, gain));
}

void ee_quantize_qs8_mve(int8_t *q, float *scale, const float *x, size_t rows, size_t in,
                         size_t q_stride, size_t x_stride)
{
    const size_t padded = ee_row_stride_qs8(in);

    for (size_t t = 0; t < rows; t++, q += q_stride, x += x_stride) {
        const float max = ee_mve_largest_magnitude(x, in);
        size_t i = 0;

        if (max < EE_SMALLEST_MAX) {
            scale[t] = 0.0f;
            memset(q, 0, padded);
            continue;
        }
        scale[t] = max / 127.0f;

        const float inverse = 127.0f / max;
        for (; i + 4 <= in; i += 4) {
            vstrbq_s32(q + i, rounded(vld1q_f32(x + i), inverse));
        }
        /* The last values have zeros behind them in their vector. */
        for (; i < padded; i += 4) {
            const float32x4_t v
                = i < in ? ee_mve_load(x + i, in - i) : vdupq_n_f32(0.0f);
            vstrbq_s32(q + i, rounded(v, inverse));
        }
    }
}

#endif
