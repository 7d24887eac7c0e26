#include "ee_frontend.h"

#ifdef EE_HAVE_MVE_FLOATS

#include <arm_mve.h>

enum { EE_LANES = 4 };

/* EE_LANES rows by as many columns: to[i * to_stride + n] = from[n][at + i]. */
static inline void ee_transpose_rows(float *to, size_t to_stride, const float *const *from,
                                     size_t at)
{
    const uint32x4_t places = vmulq_n_u32(vidupq_n_u32(0, 1), (uint32_t)to_stride);

    for (size_t n = 0; n < EE_LANES; n++) {
        vstrwq_scatter_shifted_offset_f32(to + n, places, vld1q_f32(from[n] + at));
    }
}

#include "ee_mel_block_vector.h"

int ee_mel_block_mve(float *out, const ee_frontend *frontend, const float *rows, size_t stride,
                     size_t frames, float *scratch)
{
    return mel_block(out, frontend, rows, stride, frames, scratch);
}

#endif
