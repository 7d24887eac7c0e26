/* ee_vector_simd128.h: the vectors of WebAssembly's SIMD128: four floats, with the operators of
 * Clang's vector types. There are no masked loads: a last, partial vector of a row is taken lane by
 * lane, so that no byte outside is touched. */
#ifndef EE_VECTOR_SIMD128_H
#define EE_VECTOR_SIMD128_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <wasm_simd128.h>

#include "ee_target.h"

#define EE_VECTOR_TARGET "simd128"

typedef float ee_vec __attribute__((vector_size(16)));
typedef int32_t ee_ints __attribute__((vector_size(16)));

enum { EE_LANES = 4 };

static inline ee_vec ee_set(float x)
{
    return (ee_vec){x, x, x, x};
}

static inline ee_vec ee_load(const float *x)
{
    ee_vec v;

    memcpy(&v, x, sizeof v);
    return v;
}

/* The first 4 of `count` floats, `fill` where there are fewer. */
static inline ee_vec ee_load_or(const float *x, size_t count, float fill)
{
    return count >= 4 ? ee_load(x) : (ee_vec){count > 0 ? x[0] : fill, count > 1 ? x[1] : fill,
                                              count > 2 ? x[2] : fill, fill};
}

/* 0 in the other lanes. */
static inline ee_vec ee_load_part(const float *x, size_t count)
{
    return ee_load_or(x, count, 0.0f);
}

/* Writes 4 floats, or only the first `count`. */
static inline void ee_store_part(float *out, ee_vec v, size_t count)
{
    if (count >= 4) {
        memcpy(out, &v, sizeof v);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        out[i] = v[i];
    }
}

/* Of finite values; MAX and MIN themselves cost more on x86, for NaN. */
static inline ee_vec ee_larger(ee_vec a, ee_vec b)
{
    return (ee_vec)wasm_f32x4_pmax((v128_t)a, (v128_t)b);
}

static inline ee_vec ee_smaller(ee_vec a, ee_vec b)
{
    return (ee_vec)wasm_f32x4_pmin((v128_t)a, (v128_t)b);
}

static inline float ee_largest_lane(ee_vec v)
{
    const ee_vec two = ee_larger(v, __builtin_shufflevector(v, v, 2, 3, 0, 1));

    return ee_larger(two, __builtin_shufflevector(two, two, 1, 0, 3, 2))[0];
}

#endif
