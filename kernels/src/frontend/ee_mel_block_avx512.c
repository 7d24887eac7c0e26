#include "ee_frontend.h"

#ifdef EE_HAVE_AVX512

#include "../common/ee_vector_avx512.h"

EE_TARGET_BEGIN(EE_VECTOR_TARGET)

#include "ee_mel_block_vector.h"

int ee_mel_block_avx512(float *out, const ee_frontend *frontend, const float *rows, size_t stride,
                        size_t frames, float *scratch)
{
    return mel_block(out, frontend, rows, stride, frames, scratch);
}

EE_TARGET_END

#endif
