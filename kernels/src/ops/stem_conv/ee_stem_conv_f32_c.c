#include "ee_kernels.h"

size_t ee_stem_conv_f32_frames(size_t frames, size_t kernel, size_t stride)
{
    return frames < kernel ? 0 : (frames - kernel) / stride + 1;
}

/* With frames contiguous, the window of an output frame is one run of kernel*channels floats and
 * the next window begins stride*channels floats later: a linear op over overlapping rows. */
void ee_stem_conv_f32_c(float *out, const float *x, const float *weight, const float *bias,
                        size_t frames, size_t channels, size_t outs, size_t kernel, size_t stride,
                        const ee_ops_f32 *ops)
{
    const size_t window = kernel * channels;

    ops->linear(out, x, weight, bias, ee_stem_conv_f32_frames(frames, kernel, stride), window, outs,
                outs, stride * channels, ee_row_stride(window));
}
