#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_MVE_FLOATS

#include "../../common/ee_exact_mve.h"

void ee_silu_exact_mve(float *out, const float *x, size_t count)
{
    for (; count >= 4; count -= 4, x += 4, out += 4) {
        const float32x4_t v = vld1q_f32(x);
        vst1q_f32(out, ee_mve_gate(v, v));
    }
    if (count > 0) {
        const float32x4_t v = ee_mve_load(x, count);
        ee_mve_store(out, ee_mve_gate(v, v), count);
    }
}

#endif
