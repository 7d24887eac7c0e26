#include <math.h>

#include "ee_kernels.h"

#ifdef EE_HAVE_AVX2

#include "../../common/ee_vector_avx2.h"
#include "ee_layer_norm_f32_vector.h"

EE_TARGET_BEGIN(EE_VECTOR_TARGET)

void ee_layer_norm_f32_avx2(float *out, const float *x, const float *weight, const float *bias,
                            size_t rows, size_t dim, float eps)
{
    layer_norm_vector(out, x, weight, bias, rows, dim, eps);
}

EE_TARGET_END

#endif
