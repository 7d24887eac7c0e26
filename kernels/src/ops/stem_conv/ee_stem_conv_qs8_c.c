#include "../../common/ee_size.h"
#include "ee_kernels_qs8.h"

size_t ee_stem_conv_qs8_scratch(size_t frames, size_t channels, size_t outs, size_t kernel,
                                size_t stride, const ee_team *team)
{
    return ee_linear_digits_qs8_scratch(ee_stem_conv_f32_frames(frames, kernel, stride),
                                        ee_size_mul(kernel, channels), outs, team);
}

/* A linear op over overlapping rows, as ee_stem_conv_f32_c. */
void ee_stem_conv_qs8_c(float *out, const float *x, const int8_t *weight,
                        const float *weight_scale, const float *bias,
                        size_t frames, size_t channels, size_t outs, size_t kernel, size_t stride,
                        void *scratch, const ee_ops_qs8 *ops, const ee_team *team)
{
    ee_linear_digits_qs8_c(out, x, weight, weight_scale, bias,
                           ee_stem_conv_f32_frames(frames, kernel, stride), kernel * channels, outs,
                           stride * channels, scratch, ops, team);
}
