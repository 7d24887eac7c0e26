#include "ee_kernels.h"

#ifdef EE_HAVE_NEON

#include "../../common/ee_neon.h"
#include "../../common/ee_target.h"
#include "ee_gelu_f32.h"

static inline float32x4_t gelu(float32x4_t x)
{
    const float32x4_t one = vdupq_n_f32(1.0f);
    const float32x4_t a = vabsq_f32(x);
    const float32x4_t t = vdivq_f32(one, vfmaq_n_f32(one, a, EE_GELU_SHAPE));
    const float32x4_t power = ee_neon_exp(vmulq_n_f32(vmulq_f32(a, a), -0.5f));
    float32x4_t terms = vdupq_n_f32(EE_GELU_FIT[EE_GELU_TERMS - 1]);

    EE_UNROLL
    for (size_t n = EE_GELU_TERMS - 1; n-- > 0;) {
        terms = vfmaq_f32(vdupq_n_f32(EE_GELU_FIT[n]), terms, t);
    }
    return vfmsq_f32(vmaxq_f32(x, vdupq_n_f32(0.0f)), a, vmulq_f32(power, vmulq_f32(terms, t)));
}

void ee_gelu_f32_neon(float *out, const float *x, size_t count)
{
    for (size_t i = 0; i < count; i += 4) {
        ee_neon_store(out + i, gelu(ee_neon_load(x + i, count - i, 0.0f)), count - i);
    }
}

#endif
