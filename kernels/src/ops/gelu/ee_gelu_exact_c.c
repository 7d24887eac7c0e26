#include "../../common/ee_exact.h"
#include "ee_gelu_exact.h"
#include "ee_kernels_qs8.h"

/* min(max(x, -limit), limit) */
static float clamped(float x, float limit)
{
    const float above = x < -limit ? -limit : x;

    return above > limit ? limit : above;
}

void ee_gelu_exact_c(float *out, const float *x, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const float c = clamped(x[i], EE_GELU_LIMIT);
        const float square = c * c;
        float above = EE_GELU_ABOVE[0], below = EE_GELU_BELOW[0];

        for (size_t k = 1; k < EE_GELU_POWERS; k++) {
            above = above * square + EE_GELU_ABOVE[k];
            below = below * square + EE_GELU_BELOW[k];
        }
        out[i] = ee_flush(x[i] * (clamped((c * above) / below, 0.5f) + 0.5f));
    }
}
