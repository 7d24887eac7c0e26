#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_DSP

#include <string.h>

#include "../../common/ee_exact_dsp.h"

void ee_quantize_qs8_dsp(int8_t *q, float *scale, const float *x, size_t rows, size_t in,
                         size_t q_stride, size_t x_stride)
{
    const size_t padded = ee_row_stride_qs8(in);

    for (size_t t = 0; t < rows; t++, q += q_stride, x += x_stride) {
        const float max = ee_largest_by_bits(x, in);

        if (max < EE_SMALLEST_MAX) {
            scale[t] = 0.0f;
            memset(q, 0, padded);
            continue;
        }
        scale[t] = max / 127.0f;

        const float inverse = 127.0f / max;
        EE_UNROLL_BY(4)
        for (size_t i = 0; i < in; i++) {
            q[i] = (int8_t)ee_float_bits(ee_shifted(x[i] * inverse)); /* the lowest byte */
        }
        for (size_t i = in; i < padded; i++) {
            q[i] = 0;
        }
    }
}

#endif
