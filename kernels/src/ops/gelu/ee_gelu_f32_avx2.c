#include "ee_kernels.h"

#ifdef EE_HAVE_AVX2

#include "../../common/ee_vector_avx2.h"
#include "../../common/ee_exp_vector.h"
#include "ee_gelu_f32_vector.h"

EE_TARGET_BEGIN(EE_VECTOR_TARGET)

void ee_gelu_f32_avx2(float *out, const float *x, size_t count)
{
    gelu_vector(out, x, count);
}

EE_TARGET_END

#endif
