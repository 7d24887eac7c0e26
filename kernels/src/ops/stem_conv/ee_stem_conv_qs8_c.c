#include "../../common/ee_exact.h"
#include "ee_kernels_qs8.h"

/* With frames contiguous, the window of an output frame is one run of kernel*channels floats and
 * the next window begins stride*channels floats later. */
void ee_stem_conv_qs8_c(float *out, const float *x, const int8_t *weight,
                        const float *weight_scale, const float *bias,
                        size_t frames, size_t channels, size_t outs, size_t kernel, size_t stride)
{
    const size_t window = kernel * channels;
    const size_t weight_stride = ee_row_stride_qs8(window);
    const size_t rows = ee_stem_conv_f32_frames(frames, kernel, stride);

    for (size_t t = 0; t < rows; t++) {
        for (size_t o = 0; o < outs; o++) {
            const float *const xs = x + t * stride * channels;
            const int8_t *const w = weight + o * weight_stride;

            float lanes[8] = {0.0f};
            for (size_t i = 0; i < window; i++) {
                lanes[i % 8] += xs[i] * (float)w[i];
            }
            out[t * outs + o] = ee_sum_lanes(lanes) * weight_scale[o] + bias[o];
        }
    }
}
