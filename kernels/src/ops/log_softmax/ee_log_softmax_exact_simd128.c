#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_SIMD128

#include "../../common/ee_exact_simd128.h"
#include "ee_log_softmax_exact_lanes.h"

void ee_log_softmax_exact_simd128(float *out, const float *x, size_t rows, size_t dim)
{
    log_softmax_lanes(out, x, rows, dim);
}

#endif
