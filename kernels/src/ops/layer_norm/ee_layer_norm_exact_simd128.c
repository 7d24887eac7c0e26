#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_SIMD128

#include "../../common/ee_exact_simd128.h"
#include "ee_layer_norm_exact_lanes.h"

void ee_layer_norm_exact_simd128(float *out, const float *x, const float *weight, const float *bias,
                                 size_t rows, size_t dim, float eps)
{
    layer_norm_lanes(out, x, weight, bias, rows, dim, eps);
}

#endif
