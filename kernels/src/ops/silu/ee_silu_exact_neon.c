#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_NEON

#include "../../common/ee_exact_neon.h"

void ee_silu_exact_neon(float *out, const float *x, size_t count)
{
    for (size_t i = 0; i < count; i += 4) {
        const float32x4_t v = ee_neon_load(x + i, count - i, 0.0f);
        ee_neon_store(out + i, ee_exact_gate(v, v), count - i);
    }
}

#endif
