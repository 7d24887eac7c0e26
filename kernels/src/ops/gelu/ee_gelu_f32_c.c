#include <math.h>

#include "ee_kernels.h"
#include "ee_gelu_f32.h"

/* Far from 0 the exponential is 0, and so is the tail: x or 0, to within 1e-36. */
void ee_gelu_f32_c(float *out, const float *x, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const float a = x[i] < 0.0f ? -x[i] : x[i];
        const float above = x[i] < 0.0f ? 0.0f : x[i];
        const float t = 1.0f / (1.0f + EE_GELU_SHAPE * a);
        float terms = 0.0f;

        for (size_t n = EE_GELU_TERMS; n-- > 0;) {
            terms = (terms + EE_GELU_FIT[n]) * t;
        }
        out[i] = above - a * (expf(-a * a / 2.0f) * terms);
    }
}
