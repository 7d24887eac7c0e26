#include "ee_frontend.h"

#ifdef EE_HAVE_SIMD128

#include "../common/ee_vector_simd128.h"

/* EE_LANES rows by as many columns: to[i * to_stride + n] = from[n][at + i]. */
static inline void ee_transpose_rows(float *to, size_t to_stride, const float *const *from,
                                     size_t at)
{
    const ee_vec r0 = ee_load(from[0] + at), r1 = ee_load(from[1] + at);
    const ee_vec r2 = ee_load(from[2] + at), r3 = ee_load(from[3] + at);
    const ee_vec a = __builtin_shufflevector(r0, r1, 0, 4, 1, 5);
    const ee_vec b = __builtin_shufflevector(r0, r1, 2, 6, 3, 7);
    const ee_vec c = __builtin_shufflevector(r2, r3, 0, 4, 1, 5);
    const ee_vec d = __builtin_shufflevector(r2, r3, 2, 6, 3, 7);

    ee_store_part(to, __builtin_shufflevector(a, c, 0, 1, 4, 5), EE_LANES);
    ee_store_part(to + to_stride, __builtin_shufflevector(a, c, 2, 3, 6, 7), EE_LANES);
    ee_store_part(to + 2 * to_stride, __builtin_shufflevector(b, d, 0, 1, 4, 5), EE_LANES);
    ee_store_part(to + 3 * to_stride, __builtin_shufflevector(b, d, 2, 3, 6, 7), EE_LANES);
}

#include "ee_mel_block_vector.h"

int ee_mel_block_simd128(float *out, const ee_frontend *frontend, const float *rows,
                         size_t stride, size_t frames, float *scratch)
{
    return mel_block(out, frontend, rows, stride, frames, scratch);
}

#endif
