#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_DSP

#include "../../common/ee_target.h"

/* Channels side by side, whose sums lie in registers, share what finds their values. */
enum { CHANNELS = 8 };

/* out[d] = bias[d] + sum_j x[j, d] * weight[j, d], the taps in order, of up to CHANNELS channels,
 * a constant number. */
static inline __attribute__((always_inline)) void
sum_taps(float *out, const float *x, const float *weight, const float *bias, size_t count,
         size_t taps, size_t dim, size_t weight_stride)
{
    float sums[CHANNELS];

    EE_UNROLL
    for (size_t d = 0; d < CHANNELS; d++) {
        sums[d] = d < count ? bias[d] : 0.0f;
    }
    for (; taps > 0; taps--, x += dim, weight += weight_stride) {
        EE_UNROLL
        for (size_t d = 0; d < CHANNELS; d++) {
            if (d < count) {
                sums[d] += x[d] * weight[d];
            }
        }
    }
    EE_UNROLL
    for (size_t d = 0; d < CHANNELS; d++) {
        if (d < count) {
            out[d] = sums[d];
        }
    }
}

void ee_depthwise_conv_exact_dsp(float *out, const float *x, const float *weight,
                                 const float *bias, size_t rows, size_t before, size_t after,
                                 size_t dim, size_t kernel, size_t ahead, size_t weight_stride)
{
    const size_t frames = before + rows + after;
    const size_t behind = kernel - 1 - ahead;

    for (size_t t = 0; t < rows; t++, out += dim) {
        const size_t at = before + t;
        /* Taps from..to-1 fall on frames that are there. */
        const size_t from = at < behind ? behind - at : 0;
        const size_t to = frames + behind - at < kernel ? frames + behind - at : kernel;
        const float *const seen = x + (at + from - behind) * dim;
        const float *const w = weight + from * weight_stride;
        size_t d = 0;

        for (; d + CHANNELS <= dim; d += CHANNELS) {
            sum_taps(out + d, seen + d, w + d, bias + d, CHANNELS, to - from, dim, weight_stride);
        }
        for (; d < dim; d++) {
            sum_taps(out + d, seen + d, w + d, bias + d, 1, to - from, dim, weight_stride);
        }
    }
}

#endif
