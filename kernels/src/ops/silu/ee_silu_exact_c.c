#include "../../common/ee_exact.h"
#include "ee_kernels_qs8.h"

void ee_silu_exact_c(float *out, const float *x, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        out[i] = x[i] / (1.0f + ee_exp(-x[i]));
    }
}
