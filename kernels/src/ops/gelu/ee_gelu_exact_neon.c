#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_NEON

#include "../../common/ee_exact_neon.h"
#include "ee_gelu_exact.h"

static inline float32x4_t clamped(float32x4_t x, float limit)
{
    return vminq_f32(vmaxq_f32(x, vdupq_n_f32(-limit)), vdupq_n_f32(limit));
}

void ee_gelu_exact_neon(float *out, const float *x, size_t count)
{
    for (size_t i = 0; i < count; i += 4) {
        const float32x4_t v = ee_neon_load(x + i, count - i, 0.0f);
        const float32x4_t c = clamped(v, EE_GELU_LIMIT);
        const float32x4_t square = vmulq_f32(c, c);
        float32x4_t above = vdupq_n_f32(EE_GELU_ABOVE[0]), below = vdupq_n_f32(EE_GELU_BELOW[0]);

        EE_UNROLL
        for (size_t k = 1; k < EE_GELU_POWERS; k++) {
            above = vaddq_f32(vmulq_f32(above, square), vdupq_n_f32(EE_GELU_ABOVE[k]));
            below = vaddq_f32(vmulq_f32(below, square), vdupq_n_f32(EE_GELU_BELOW[k]));
        }
        const float32x4_t middle = clamped(vdivq_f32(vmulq_f32(c, above), below), 0.5f);
        const float32x4_t y = vmulq_f32(v, vaddq_f32(middle, vdupq_n_f32(0.5f)));
        ee_neon_store(out + i, ee_exact_flush4(y), count - i);
    }
}

#endif
