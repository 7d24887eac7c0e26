#include "ee_frontend.h"

#ifdef EE_HAVE_NEON

#include "../common/ee_neon.h"

enum { EE_LANES = 4 };

/* EE_LANES rows by as many columns: to[i * to_stride + n] = from[n][at + i]. */
static inline void ee_transpose_rows(float *to, size_t to_stride, const float *const *from,
                                     size_t at)
{
    const float32x4x2_t a = vtrnq_f32(vld1q_f32(from[0] + at), vld1q_f32(from[1] + at));
    const float32x4x2_t b = vtrnq_f32(vld1q_f32(from[2] + at), vld1q_f32(from[3] + at));

    for (size_t i = 0; i < 2; i++) {
        vst1q_f32(to + i * to_stride, vcombine_f32(vget_low_f32(a.val[i]), vget_low_f32(b.val[i])));
        vst1q_f32(to + (i + 2) * to_stride,
                  vcombine_f32(vget_high_f32(a.val[i]), vget_high_f32(b.val[i])));
    }
}

#include "ee_mel_block_vector.h"

int ee_mel_block_neon(float *out, const ee_frontend *frontend, const float *rows, size_t stride,
                      size_t frames, float *scratch)
{
    return mel_block(out, frontend, rows, stride, frames, scratch);
}

#endif
