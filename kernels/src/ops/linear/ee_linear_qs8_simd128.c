#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_SIMD128

#include "../../common/ee_exact_simd128.h"

/* i32x4.dot_i16x8_s, which is PMADDWD on x86, multiplies eight int16 and adds pairs: int8 of rows
 * and weights are widened as they are loaded, once for a tile. Sums lie along `in` and are added
 * across lanes at the end. What lies behind the last row or output is computed of the last one that
 * exists, and not written. A third row does not fit the registers of x86-64 and takes longer. */
enum { TILE_ROWS = 2, TILE_OUTS = 4 };

static inline ee_ints add_products(ee_ints sum, v128_t x, v128_t w)
{
    return sum + (ee_ints)wasm_i32x4_dot_i16x8(x, w);
}

/* The sum of the lanes of each. */
static inline ee_ints lane_sums(const ee_ints v[4])
{
    const ee_ints a = __builtin_shufflevector(v[0], v[1], 0, 4, 1, 5)
                      + __builtin_shufflevector(v[0], v[1], 2, 6, 3, 7);
    const ee_ints b = __builtin_shufflevector(v[2], v[3], 0, 4, 1, 5)
                      + __builtin_shufflevector(v[2], v[3], 2, 6, 3, 7);

    return __builtin_shufflevector(a, b, 0, 1, 4, 5) + __builtin_shufflevector(a, b, 2, 3, 6, 7);
}

static void linear_tile(float *out, const int8_t *q, const float *scale, const int8_t *weight,
                        const float *weight_scale, const float *bias, size_t rows, size_t outs,
                        size_t in, size_t out_stride, size_t q_stride, size_t weight_stride)
{
    const int8_t *from[TILE_ROWS], *weights[TILE_OUTS];
    ee_ints sums[TILE_ROWS][TILE_OUTS];

    EE_UNROLL
    for (size_t r = 0; r < TILE_ROWS; r++) {
        from[r] = q + ee_size_min(r, rows - 1) * q_stride;
        EE_UNROLL
        for (size_t o = 0; o < TILE_OUTS; o++) {
            weights[o] = weight + ee_size_min(o, outs - 1) * weight_stride;
            sums[r][o] = (ee_ints){0};
        }
    }
    for (size_t i = 0; i < in; i += 8) {
        v128_t x[TILE_ROWS];

        EE_UNROLL
        for (size_t r = 0; r < TILE_ROWS; r++) {
            x[r] = wasm_i16x8_load8x8(from[r] + i);
        }
        EE_UNROLL
        for (size_t o = 0; o < TILE_OUTS; o++) {
            const v128_t w = wasm_i16x8_load8x8(weights[o] + i);

            EE_UNROLL
            for (size_t r = 0; r < TILE_ROWS; r++) {
                sums[r][o] = add_products(sums[r][o], x[r], w);
            }
        }
    }
    EE_UNROLL
    for (size_t r = 0; r < TILE_ROWS; r++) {
        if (r < rows) {
            ee_exact_store_sums(out + r * out_stride, lane_sums(sums[r]), scale[r], weight_scale,
                                bias, outs);
        }
    }
}

void ee_linear_qs8_simd128(float *out, const int8_t *q, const float *scale, const int8_t *weight,
                           const float *weight_scale, const float *bias,
                           size_t rows, size_t in, size_t outs,
                           size_t out_stride, size_t q_stride, size_t weight_stride)
{
    for (size_t o = 0; o < outs; o += TILE_OUTS) {
        for (size_t t = 0; t < rows; t += TILE_ROWS) {
            linear_tile(out + t * out_stride + o, q + t * q_stride, scale + t,
                        weight + o * weight_stride, weight_scale + o, bias ? bias + o : NULL,
                        ee_size_min(rows - t, TILE_ROWS), ee_size_min(outs - o, TILE_OUTS), in,
                        out_stride, q_stride, weight_stride);
        }
    }
}

#endif
