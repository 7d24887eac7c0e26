/* ee_transpose_avx512.h: how the AVX-512 products turn rows of weights into vectors across outputs. */
#ifndef EE_TRANSPOSE_AVX512_H
#define EE_TRANSPOSE_AVX512_H

#include <immintrin.h>

#include "ee_target.h"

EE_TARGET_BEGIN("avx512f")

/* 16 rows of 16 words: columns become rows. */
static inline __attribute__((always_inline)) void ee_avx512_transpose(__m512i v[16])
{
    __m512i a[16];

    EE_UNROLL
    for (int i = 0; i < 16; i += 2) {
        a[i] = _mm512_unpacklo_epi32(v[i], v[i + 1]);
        a[i + 1] = _mm512_unpackhi_epi32(v[i], v[i + 1]);
    }
    /* v[i + c]: column 4 lane + c of rows i..i+3, for each of the four lanes of 128 bits */
    EE_UNROLL
    for (int i = 0; i < 16; i += 4) {
        v[i] = _mm512_unpacklo_epi64(a[i], a[i + 2]);
        v[i + 1] = _mm512_unpackhi_epi64(a[i], a[i + 2]);
        v[i + 2] = _mm512_unpacklo_epi64(a[i + 1], a[i + 3]);
        v[i + 3] = _mm512_unpackhi_epi64(a[i + 1], a[i + 3]);
    }
    EE_UNROLL
    for (int c = 0; c < 4; c++) {
        a[c] = _mm512_shuffle_i32x4(v[c], v[4 + c], 0x88);
        a[4 + c] = _mm512_shuffle_i32x4(v[c], v[4 + c], 0xDD);
        a[8 + c] = _mm512_shuffle_i32x4(v[8 + c], v[12 + c], 0x88);
        a[12 + c] = _mm512_shuffle_i32x4(v[8 + c], v[12 + c], 0xDD);
    }
    EE_UNROLL
    for (int c = 0; c < 4; c++) {
        v[c] = _mm512_shuffle_i32x4(a[c], a[8 + c], 0x88);
        v[8 + c] = _mm512_shuffle_i32x4(a[c], a[8 + c], 0xDD);
        v[4 + c] = _mm512_shuffle_i32x4(a[4 + c], a[12 + c], 0x88);
        v[12 + c] = _mm512_shuffle_i32x4(a[4 + c], a[12 + c], 0xDD);
    }
}

EE_TARGET_END

#endif
