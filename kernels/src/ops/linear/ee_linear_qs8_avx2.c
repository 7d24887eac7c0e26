#include <string.h>

#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_AVX2

#include "../../common/ee_exact_avx2.h"
#include "../../common/ee_prefetch.h"

/* Outputs lie across the lanes, so that no sum crosses them: all lanes of a vector have the same x
 * and the weights of 8 outputs. VPMADDWD with an addition does 16 products by two instructions, but
 * a core with two multipliers and two more adders then does not keep all four busy (80 % on AMD Zen
 * 3). Winograd's inner product does 32 by four, of which one multiplies:
 *
 *   x0 w0 + x1 w1 = (x0 + w1) (x1 + w0) - x0 x1 - w0 w1
 *
 * All are integers, so the sum is the same; of the last two terms one sum a row and one an output is
 * taken away beforehand. The factors in parentheses are int16: even and odd values of x and of the
 * weights are widened apart. (VPMADDUBSW takes bytes, 32 products. Without a sign on one side its
 * sums would saturate; with VPSIGNB before it and VPMADDWD behind it, to add into int32, that makes
 * four instructions as well, three of which not every port has.)
 *
 * x is widened once for all panels and streams past from the second-level cache. A panel is 8 KB, a
 * quarter of the first-level cache, and stays there meanwhile. Between two blocks of `in` the
 * integer sums wait in `out`. */
enum {
    TILE_ROWS = 4,
    TILE_OUTS = 16,
    IN_BLOCK = 256,
    HALF = IN_BLOCK / 2, /* from the even values of a row of x to the odd ones */
    ROW_BLOCK = 128
};

/* The weights of a panel: for four values along `in`, vectors of int16 pairs of 8 outputs each: the
 * odd values of outputs 0..7 and 8..15, then the even ones. */
typedef struct {
    int16_t pairs[TILE_OUTS * IN_BLOCK];
    int32_t excess[TILE_OUTS]; /* sum of w0 w1 */
} packed_panel;

/* A block of x: of each row the even values, then the odd ones. */
typedef struct {
    int16_t values[ROW_BLOCK * IN_BLOCK];
    int32_t excess[ROW_BLOCK]; /* sum of x0 x1 */
} wide_rows;

/* What a tile does with its sums. */
typedef struct {
    int is_first, is_last; /* block of `in`: begins at 0; turns the sums into outputs */
    size_t depth;          /* of the block, a multiple of 16 */
    size_t outs;           /* that exist, at most TILE_OUTS */
    size_t out_stride;
    const float *weight_scale, *bias;
} tile_plan;

EE_TARGET_BEGIN("avx2")

/* The low and the high bytes of the 16-bit lanes, widened. */
static inline __m256i even_bytes(__m256i v)
{
    return _mm256_srai_epi16(_mm256_slli_epi16(v, 8), 8);
}

static inline __m256i odd_bytes(__m256i v)
{
    return _mm256_srai_epi16(v, 8);
}

/* Both halves of the vectors: 4 rows of 4 int32, columns become rows. */
static inline void transpose(__m256i v[4])
{
    const __m256i a = _mm256_unpacklo_epi32(v[0], v[1]), b = _mm256_unpackhi_epi32(v[0], v[1]);
    const __m256i c = _mm256_unpacklo_epi32(v[2], v[3]), d = _mm256_unpackhi_epi32(v[2], v[3]);

    v[0] = _mm256_unpacklo_epi64(a, c);
    v[1] = _mm256_unpackhi_epi64(a, c);
    v[2] = _mm256_unpacklo_epi64(b, d);
    v[3] = _mm256_unpackhi_epi64(b, d);
}

/* A panel of TILE_OUTS outputs, of which `outs` exist: the last one stands for the others. */
static void pack_weights(packed_panel *panel, const int8_t *weight, size_t outs, size_t depth,
                         size_t weight_stride)
{
    for (size_t o = 0; o < TILE_OUTS; o += 8) {
        const int8_t *from[8];
        __m256i excess = _mm256_setzero_si256();

        for (size_t j = 0; j < 8; j++) {
            from[j] = weight + ee_size_min(o + j, outs - 1) * weight_stride;
        }
        for (size_t i = 0; i < depth; i += 16) {
            __m256i odd[4], even[4];
            for (size_t j = 0; j < 4; j++) {
                const __m128i low = _mm_load_si128((const void *)(from[j] + i));
                const __m128i high = _mm_load_si128((const void *)(from[j + 4] + i));
                const __m256i both = _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1);
                odd[j] = odd_bytes(both);
                even[j] = even_bytes(both);
            }
            transpose(odd);
            transpose(even);
            for (size_t j = 0; j < 4; j++) {
                __m256i *const to = (__m256i *)(void *)(panel->pairs + (i + 4 * j) * TILE_OUTS
                                                        + 2 * o);
                _mm256_storeu_si256(to, odd[j]);
                _mm256_storeu_si256(to + 2, even[j]);
                excess = _mm256_add_epi32(excess, _mm256_madd_epi16(odd[j], even[j]));
            }
        }
        _mm256_storeu_si256((__m256i *)(void *)(panel->excess + o), excess);
    }
}

static void widen(wide_rows *x, const int8_t *q, size_t rows, size_t depth, size_t q_stride)
{
    for (size_t r = 0; r < rows; r++) {
        int16_t *const to = x->values + r * IN_BLOCK;
        __m128i excess = _mm_setzero_si128();

        for (size_t i = 0; i < depth; i += 16) {
            const __m128i v = _mm_load_si128((const void *)(q + r * q_stride + i));
            const __m128i even = _mm_srai_epi16(_mm_slli_epi16(v, 8), 8);
            const __m128i odd = _mm_srai_epi16(v, 8);
            _mm_storeu_si128((__m128i *)(void *)(to + i / 2), even);
            _mm_storeu_si128((__m128i *)(void *)(to + HALF + i / 2), odd);
            excess = _mm_add_epi32(excess, _mm_madd_epi16(even, odd));
        }
        excess = _mm_add_epi32(excess, _mm_shuffle_epi32(excess, _MM_SHUFFLE(1, 0, 3, 2)));
        excess = _mm_add_epi32(excess, _mm_shuffle_epi32(excess, _MM_SHUFFLE(2, 3, 0, 1)));
        x->excess[r] = _mm_cvtsi128_si32(excess);
    }
}

/* The sums of a row of a tile. */
typedef struct {
    __m256i v[2];
} row_sums;

static inline __attribute__((always_inline)) row_sums
begin_row(const float *out, const packed_panel *panel, int32_t excess, const tile_plan *plan)
{
    const size_t count = plan->outs;
    const __m256i row_excess = _mm256_set1_epi32(excess);
    row_sums sums = {{_mm256_setzero_si256(), _mm256_setzero_si256()}};

    if (!plan->is_first) {
        sums.v[0] = _mm256_castps_si256(ee_exact_load(out, count));
        sums.v[1] = _mm256_castps_si256(ee_exact_load(out + 8, count > 8 ? count - 8 : 0));
    }
    for (int h = 0; h < 2; h++) {
        const __m256i both = _mm256_add_epi32(
            row_excess, _mm256_loadu_si256((const void *)(panel->excess + 8 * h)));
        sums.v[h] = _mm256_sub_epi32(sums.v[h], both);
    }
    return sums;
}

/* Adds four products to each sum. Even and odd: x, the same in all lanes; w, as in a panel. */
static inline __attribute__((always_inline)) void
add_products(row_sums *sums, const int16_t *x, const __m256i w[4])
{
    int32_t pair;
    memcpy(&pair, x, sizeof(pair));
    const __m256i even = _mm256_set1_epi32(pair);
    memcpy(&pair, x + HALF, sizeof(pair));
    const __m256i odd = _mm256_set1_epi32(pair);

    for (int h = 0; h < 2; h++) {
        const __m256i a = _mm256_add_epi16(even, w[h]), b = _mm256_add_epi16(odd, w[2 + h]);
        /* _mm256_add_epi32, here and in place: else GCC begins with the factors of all rows, has no
         * registers left, or moves sums about. */
        __asm__ volatile("vpaddd %1, %0, %0" : "+x"(sums->v[h]) : "x"(_mm256_madd_epi16(a, b)));
    }
}

static inline __attribute__((always_inline)) void
add_step(row_sums *r0, row_sums *r1, row_sums *r2, row_sums *r3, const int16_t *values,
         const __m256i *pairs, size_t rows)
{
    const __m256i w[4] = {
        _mm256_loadu_si256(pairs), _mm256_loadu_si256(pairs + 1),
        _mm256_loadu_si256(pairs + 2), _mm256_loadu_si256(pairs + 3),
    };

    add_products(r0, values, w);
    if (rows > 1) {
        add_products(r1, values + IN_BLOCK, w);
    }
    if (rows > 2) {
        add_products(r2, values + 2 * IN_BLOCK, w);
    }
    if (rows > 3) {
        add_products(r3, values + 3 * IN_BLOCK, w);
    }
}

static inline __attribute__((always_inline)) void
end_row(float *out, row_sums sums, float scale, const tile_plan *plan)
{
    for (size_t o = 0; o < plan->outs; o += 8) {
        const size_t count = plan->outs - o;
        __m256 y = _mm256_castsi256_ps(sums.v[o / 8]);

        if (plan->is_last) {
            const __m256 weight_scale = ee_exact_load(plan->weight_scale + o, count);
            y = _mm256_mul_ps(_mm256_cvtepi32_ps(sums.v[o / 8]),
                              _mm256_mul_ps(_mm256_set1_ps(scale), weight_scale));
            if (plan->bias) {
                y = _mm256_add_ps(y, ee_exact_load(plan->bias + o, count));
            }
        }
        ee_exact_store(out + o, y, count);
    }
}

/* A tile of `rows` rows, a constant where this is called, so that the sums stay in registers. */
static inline __attribute__((always_inline)) void
linear_tile(float *out, const wide_rows *x, size_t first, const float *scale,
            const packed_panel *panel, size_t rows, const tile_plan *plan)
{
    const int16_t *values = x->values + first * IN_BLOCK;
    const int32_t *const excess = x->excess + first;
    const size_t stride = plan->out_stride;
    const __m256i *pairs = (const __m256i *)(const void *)panel->pairs;
    row_sums r0, r1, r2, r3;

    r0 = r1 = r2 = r3 = begin_row(out, panel, excess[0], plan);
    if (rows > 1) {
        r1 = begin_row(out + stride, panel, excess[1], plan);
    }
    if (rows > 2) {
        r2 = begin_row(out + 2 * stride, panel, excess[2], plan);
    }
    if (rows > 3) {
        r3 = begin_row(out + 3 * stride, panel, excess[3], plan);
    }
    for (size_t i = 0; i < plan->depth; i += 16) {
        add_step(&r0, &r1, &r2, &r3, values, pairs, rows);
        add_step(&r0, &r1, &r2, &r3, values + 2, pairs + 4, rows);
        add_step(&r0, &r1, &r2, &r3, values + 4, pairs + 8, rows);
        add_step(&r0, &r1, &r2, &r3, values + 6, pairs + 12, rows);
        values += 8;
        pairs += 16;
    }
    end_row(out, r0, scale[0], plan);
    if (rows > 1) {
        end_row(out + stride, r1, scale[1], plan);
    }
    if (rows > 2) {
        end_row(out + 2 * stride, r2, scale[2], plan);
    }
    if (rows > 3) {
        end_row(out + 3 * stride, r3, scale[3], plan);
    }
}

/* All of at most ROW_BLOCK rows. */
static void linear_rows(float *out, const int8_t *q, const float *scale, const int8_t *weight,
                        const float *weight_scale, const float *bias,
                        size_t rows, size_t padded, size_t outs,
                        size_t out_stride, size_t q_stride, size_t weight_stride)
{
    wide_rows x;
    packed_panel panel;
    const size_t step = ee_even_part(rows, TILE_ROWS);
    const size_t tiles = rows / step + (rows % step != 0);

    for (size_t i = 0; i < padded; i += IN_BLOCK) {
        const size_t depth = ee_size_min(padded - i, IN_BLOCK);

        widen(&x, q + i, rows, depth, q_stride);
        for (size_t o = 0; o < outs; o += TILE_OUTS) {
            const tile_plan plan = {
                .is_first = i == 0, .is_last = i + depth == padded, .depth = depth,
                .outs = ee_size_min(outs - o, TILE_OUTS), .out_stride = out_stride,
                .weight_scale = weight_scale + o, .bias = bias ? bias + o : NULL,
            };

            ee_prefetch next = ee_prefetch_next(weight, weight_stride, outs, padded, o, TILE_OUTS, i,
                                                depth);
            const size_t share = ee_prefetch_share(&next, tiles);

            pack_weights(&panel, weight + o * weight_stride + i, plan.outs, depth, weight_stride);
            for (size_t t = 0; t < rows; t += step) {
                ee_prefetch_some(&next, share, 0);
                float *const to = out + t * out_stride + o;

                switch (ee_size_min(rows - t, step)) {
                case 4:
                    linear_tile(to, &x, t, scale + t, &panel, 4, &plan);
                    break;
                case 3:
                    linear_tile(to, &x, t, scale + t, &panel, 3, &plan);
                    break;
                case 2:
                    linear_tile(to, &x, t, scale + t, &panel, 2, &plan);
                    break;
                default:
                    linear_tile(to, &x, t, scale + t, &panel, 1, &plan);
                    break;
                }
            }
        }
    }
}

void ee_linear_qs8_avx2(float *out, const int8_t *q, const float *scale, const int8_t *weight,
                        const float *weight_scale, const float *bias,
                        size_t rows, size_t in, size_t outs,
                        size_t out_stride, size_t q_stride, size_t weight_stride)
{
    const size_t step = ee_even_part(rows, ROW_BLOCK);

    for (size_t t = 0; t < rows; t += step) {
        linear_rows(out + t * out_stride, q + t * q_stride, scale + t, weight, weight_scale, bias,
                    ee_size_min(rows - t, step), ee_row_stride_qs8(in), outs, out_stride, q_stride,
                    weight_stride);
    }
}

EE_TARGET_END

#endif
