#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_DSP

#include "../../common/ee_exact_dsp.h"

void ee_silu_exact_dsp(float *out, const float *x, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        out[i] = ee_gate_by_bits(x[i], x[i]);
    }
}

#endif
