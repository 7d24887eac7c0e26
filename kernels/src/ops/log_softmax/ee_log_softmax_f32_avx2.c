#include <math.h>

#include "ee_kernels.h"

#ifdef EE_HAVE_AVX2

#include "../../common/ee_vector_avx2.h"
#include "../../common/ee_exp_vector.h"
#include "ee_log_softmax_f32_vector.h"

EE_TARGET_BEGIN(EE_VECTOR_TARGET)

void ee_log_softmax_f32_avx2(float *out, const float *x, size_t rows, size_t dim)
{
    log_softmax_vector(out, x, rows, dim);
}

EE_TARGET_END

#endif
