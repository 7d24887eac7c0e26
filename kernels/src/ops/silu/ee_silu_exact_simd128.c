#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_SIMD128

#include "../../common/ee_exact_simd128.h"

void ee_silu_exact_simd128(float *out, const float *x, size_t count)
{
    for (size_t i = 0; i < count; i += 4) {
        const ee_vec v = ee_load_part(x + i, count - i);
        ee_store_part(out + i, ee_exact_gate(v, v), count - i);
    }
}

#endif
