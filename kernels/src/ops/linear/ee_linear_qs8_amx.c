#include "ee_kernels_qs8.h"

#ifdef EE_HAVE_AMX

#include <immintrin.h>

#include "../../common/ee_prefetch.h"
#include "../../common/ee_qs8.h"
#include "../../common/ee_target.h"
#include "../../common/ee_transpose_avx512.h"

/* TDPBSSD multiplies a tile of x, up to 16 rows of 64 bytes as they lie in memory, by a tile of
 * weights, up to 16 groups of four values along `in` of 16 outputs, and adds the products to a tile
 * of sums. A block is two tiles of rows by two tiles of outputs: each tile that is loaded is
 * multiplied twice, which takes longer than to load it.
 *
 * One configuration of the tiles has to do for all rows, since another clears the sums. So all
 * blocks have the same height and all pieces of `in` the same depth, 64 if there are so many. The
 * last block then begins where it ends with the last row, and computes rows once more that the
 * block before it computed; the last piece begins where it ends with the row, and what the piece
 * before it multiplied meets zeros among the weights. Nothing is read behind a row or past the
 * last one. Outputs that do not exist are computed and not stored.
 *
 * A panel of weights, at most 32 KB, is packed once for ROW_BLOCK rows, which stream past it: a
 * tile takes 64 shuffles, and a cycle for each row that it is multiplied with. The weights of the
 * next panel are asked for meanwhile. Where the sums of all inputs are there at once, a panel is
 * up to four blocks wide and a row is written in pieces of 512 bytes. In pieces of 128, rows 8 KB
 * apart drive each other out of their set of the first-level cache: all but the tile instructions
 * of 48 rows by 2048 outputs took 45 us instead of 16 (AMD Zen 5, whose first-level cache has the
 * sets of Intel's). Otherwise a panel is one block wide, and the sums wait. */
enum {
    TILE_ROWS = 16,
    TILE_OUTS = 16,
    TILE_DEPTH = 64,
    ROW_BYTES = 64, /* of a tile of weights or sums */
    TILE_BYTES = 16 * ROW_BYTES,
    BLOCK_ROWS = 2 * TILE_ROWS,
    BLOCK_OUTS = 2 * TILE_OUTS,
    IN_BLOCK = 512,
    ROW_BLOCK = 256,
    PANEL_BLOCKS = 4,
    PANEL_BYTES = 1 << 15
};

/* The tiles: sums of either tile of rows and either of outputs, rows, outputs. The instructions
 * take literal numbers. */
#define SUM_00 0
#define SUM_01 1
#define SUM_10 2
#define SUM_11 3
#define ROWS_0 4
#define ROWS_1 5
#define OUTS_0 6
#define OUTS_1 7

/* What LDTILECFG reads. */
typedef struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tile_config;

/* What tile instructions read there is written by now: GCC's intrinsics do not tell it what they
 * read. */
#define WRITTEN(there) __asm__ volatile("" : : "r"(there) : "memory")

typedef struct {
    size_t height;       /* of a block of rows */
    size_t depth;        /* of a piece of `in`, a multiple of 16 */
    size_t last;         /* where the last piece begins */
    size_t out_stride, q_stride, weight_stride;
} tile_plan;

EE_TARGET_BEGIN("avx512f,avx512bw,avx512dq,avx512vl,amx-tile,amx-int8")

static void configure(const tile_plan *plan)
{
    tile_config config = {.palette = 1};
    const size_t upper = ee_size_min(plan->height, TILE_ROWS);
    const size_t heights[2] = {upper, plan->height - upper};

    for (size_t r = 0; r < 2; r++) {
        if (heights[r] > 0) {
            config.rows[ROWS_0 + r] = (uint8_t)heights[r];
            config.row_bytes[ROWS_0 + r] = (uint16_t)plan->depth;
            for (size_t h = 0; h < 2; h++) {
                config.rows[SUM_00 + 2 * r + h] = (uint8_t)heights[r];
                config.row_bytes[SUM_00 + 2 * r + h] = ROW_BYTES;
            }
        }
        config.rows[OUTS_0 + r] = (uint8_t)(plan->depth / 4);
        config.row_bytes[OUTS_0 + r] = ROW_BYTES;
    }
    WRITTEN(&config);
    _tile_loadconfig(&config);
}

/* The pieces of `in` from `begin` to `end` of a block of outputs, both tiles of each. weight points
 * to the first of `outs` rows; the last one stands for those that do not exist. */
static void pack_weights(int8_t *packed, const int8_t *weight, size_t outs, size_t begin,
                         size_t end, const tile_plan *plan)
{
    for (size_t i = begin; i < end; i += TILE_DEPTH) {
        const size_t from = ee_size_min(i, plan->last);
        /* without those that the piece before had */
        const __mmask64 mask =
            (~(__mmask64)0 >> (64 - plan->depth)) & (~(__mmask64)0 << (i - from));

        for (size_t o = 0; o < BLOCK_OUTS; o += TILE_OUTS) {
            __m512i groups[16];
            for (size_t j = 0; j < 16; j++) {
                const int8_t *const row =
                    weight + ee_size_min(o + j, outs - 1) * plan->weight_stride;
                groups[j] = _mm512_maskz_loadu_epi8(mask, row + from);
            }
            ee_avx512_transpose(groups);
            for (size_t j = 0; j < 16; j++) {
                _mm512_store_si512(packed + j * ROW_BYTES, groups[j]);
            }
            packed += TILE_BYTES;
        }
    }
}

/* Adds the products of a block for the pieces from `begin` to `end` to its sums, which begin at 0
 * with the first piece. with_lower, with_right: constants where this is called, whether the block
 * has a second tile of rows, of outputs. */
static inline __attribute__((always_inline)) void
multiply(int32_t *sums, const int8_t *q, const int8_t *packed, size_t begin, size_t end,
         int with_lower, int with_right, const tile_plan *plan)
{
    const size_t q_stride = plan->q_stride;
    int32_t *const lower = sums + TILE_ROWS * BLOCK_OUTS;

#define EACH_SUM(DO)                                                              \
    DO(SUM_00, sums)                                                              \
    if (with_right) {                                                             \
        DO(SUM_01, sums + TILE_OUTS)                                              \
    }                                                                             \
    if (with_lower) {                                                             \
        DO(SUM_10, lower)                                                         \
    }                                                                             \
    if (with_lower && with_right) {                                               \
        DO(SUM_11, lower + TILE_OUTS)                                             \
    }
#define ZERO(tile, at) _tile_zero(tile);
#define LOAD(tile, at) _tile_loadd(tile, at, sizeof(int32_t) * BLOCK_OUTS);
#define STORE(tile, at) _tile_stored(tile, at, sizeof(int32_t) * BLOCK_OUTS);
    if (begin == 0) {
        EACH_SUM(ZERO)
    } else {
        EACH_SUM(LOAD)
    }
    for (size_t i = begin; i < end; i += TILE_DEPTH) {
        const int8_t *const x = q + ee_size_min(i, plan->last);

        _tile_loadd(OUTS_0, packed, ROW_BYTES);
        _tile_loadd(ROWS_0, x, q_stride);
        _tile_dpbssd(SUM_00, ROWS_0, OUTS_0);
        if (with_right) {
            _tile_loadd(OUTS_1, packed + TILE_BYTES, ROW_BYTES);
            _tile_dpbssd(SUM_01, ROWS_0, OUTS_1);
        }
        if (with_lower) {
            _tile_loadd(ROWS_1, x + TILE_ROWS * q_stride, q_stride);
            _tile_dpbssd(SUM_10, ROWS_1, OUTS_0);
        }
        if (with_lower && with_right) {
            _tile_dpbssd(SUM_11, ROWS_1, OUTS_1);
        }
        packed += 2 * TILE_BYTES;
    }
    EACH_SUM(STORE)
#undef STORE
#undef LOAD
#undef ZERO
#undef EACH_SUM
}

static void multiply_block(int32_t *sums, const int8_t *q, const int8_t *packed, size_t begin,
                           size_t end, int with_lower, int with_right, const tile_plan *plan)
{
    if (with_lower && with_right) {
        multiply(sums, q, packed, begin, end, 1, 1, plan);
    } else if (with_lower) {
        multiply(sums, q, packed, begin, end, 1, 0, plan);
    } else if (with_right) {
        multiply(sums, q, packed, begin, end, 0, 1, plan);
    } else {
        multiply(sums, q, packed, begin, end, 0, 0, plan);
    }
}

/* The first `count` lanes. */
static inline __mmask16 first_lanes(size_t count)
{
    return (__mmask16)((1u << ee_size_min(count, 16)) - 1);
}

/* From the sums of a row of blocks to outputs, of which `outs` exist. */
static void end_rows(float *out, const int32_t *sums, const float *scale, const float *weight_scale,
                     const float *bias, size_t outs, const tile_plan *plan)
{
    for (size_t r = 0; r < plan->height; r++) {
        const __m512 row_scale = _mm512_set1_ps(scale[r]);

        for (size_t o = 0; o < outs; o += TILE_OUTS) {
            const size_t row = o / BLOCK_OUTS * BLOCK_ROWS + r;
            const __m512i sum = _mm512_load_si512(sums + row * BLOCK_OUTS + o % BLOCK_OUTS);
            const __mmask16 exists = first_lanes(outs - o);
            const __m512 by = _mm512_maskz_loadu_ps(exists, weight_scale + o);
            __m512 y = _mm512_mul_ps(_mm512_cvtepi32_ps(sum), _mm512_mul_ps(row_scale, by));

            if (bias) {
                y = _mm512_add_ps(y, _mm512_maskz_loadu_ps(exists, bias + o));
            }
            _mm512_mask_storeu_ps(out + r * plan->out_stride + o, exists, y);
        }
    }
}

/* What is multiplied after the inputs of `width` outputs up to `end`: their next inputs, or the
 * first ones of the next outputs, or none behind the last of `outs`. */
static ee_prefetch next_weights(const int8_t *panel, size_t end, size_t padded, size_t width,
                               size_t outs, size_t stride)
{
    const ee_prefetch inputs = {
        panel + end, width, ee_size_min(padded - end, IN_BLOCK), stride, 0};
    const ee_prefetch outputs = {
        panel + width * stride, ee_size_min(outs - width, width), ee_size_min(padded, IN_BLOCK),
        stride, 0};

    return end < padded ? inputs : outputs;
}

/* Likewise where weights are packed: they lie in the order in which they are multiplied. */
static ee_prefetch next_packed(const int8_t *panel, size_t end, size_t padded, size_t width,
                               size_t outs, size_t stride)
{
    const size_t inputs = ee_size_min(padded - end, IN_BLOCK) * BLOCK_OUTS;
    const size_t outputs = ee_size_min(padded, IN_BLOCK) * ee_size_min(outs - width, width);
    const ee_prefetch next = end < padded ? (ee_prefetch){panel + end * BLOCK_OUTS, 1, inputs, 0, 0}
                                          : (ee_prefetch){panel + width * stride, outputs > 0,
                                                          outputs, 0, 0};

    return next;
}

/* All of at most ROW_BLOCK rows. */
static void linear_rows(float *out, const int8_t *q, const float *scale, const int8_t *weight,
                        const float *weight_scale, const float *bias,
                        size_t rows, size_t padded, size_t outs,
                        size_t out_stride, size_t q_stride, size_t weight_stride)
{
    int8_t packed_here[PANEL_BYTES] __attribute__((aligned(64)));
    const int is_packed = weight_stride == 0;
    const size_t each_output = is_packed ? ee_packed_stride_qs8(padded) : weight_stride;
    int32_t sums[ROW_BLOCK * BLOCK_OUTS] __attribute__((aligned(64)));
    const size_t depth = ee_size_min(padded, TILE_DEPTH);
    const tile_plan plan = {
        .height = ee_even_part(rows, BLOCK_ROWS), .depth = depth, .last = padded - depth,
        .out_stride = out_stride, .q_stride = q_stride, .weight_stride = weight_stride,
    };
    const size_t blocks = rows / plan.height + (rows % plan.height != 0);
    const int with_lower = plan.height > TILE_ROWS;
    const int sums_wait = padded > IN_BLOCK;
    const size_t pieces = (ee_size_min(padded, IN_BLOCK) + TILE_DEPTH - 1) / TILE_DEPTH;
    const size_t block_bytes = 2 * TILE_BYTES * pieces;
    const size_t panel_outs = BLOCK_OUTS * (sums_wait ? 1 : ee_size_min(PANEL_BYTES / block_bytes,
                                                                        PANEL_BLOCKS));

    configure(&plan);
    for (size_t o = 0; o < outs; o += panel_outs) {
        const int8_t *const panel = weight + o * each_output;
        const size_t width = ee_size_min(outs - o, panel_outs);

        for (size_t begin = 0; begin < padded; begin += IN_BLOCK) {
            const size_t end = ee_size_min(begin + IN_BLOCK, padded);
            /* A panel of several blocks has all inputs. */
            const int8_t *const packed = is_packed ? panel + begin * BLOCK_OUTS : packed_here;
            ee_prefetch next = (is_packed ? next_packed : next_weights)(panel, end, padded, width,
                                                                        outs - o, each_output);
            const size_t share = ee_prefetch_share(&next, blocks);

            for (size_t b = 0; !is_packed && b * BLOCK_OUTS < width; b++) {
                pack_weights(packed_here + b * block_bytes, panel + b * BLOCK_OUTS * weight_stride,
                             width - b * BLOCK_OUTS, begin, end, &plan);
            }
            WRITTEN(packed);
            for (size_t t = 0; t < rows; t += plan.height) {
                const size_t first = ee_size_min(t, rows - plan.height);
                const int8_t *const x = q + first * q_stride;
                int32_t *const of_row = sums + (sums_wait ? t * BLOCK_OUTS : 0);

                ee_prefetch_some(&next, share, 0);
                for (size_t b = 0; b * BLOCK_OUTS < width; b++) {
                    int32_t *const to = of_row + b * BLOCK_ROWS * BLOCK_OUTS;
                    const int8_t *const w = packed + b * block_bytes;

                    multiply_block(to, x, w, begin, end, with_lower,
                                   width - b * BLOCK_OUTS > TILE_OUTS, &plan);
                }
                if (end == padded) {
                    end_rows(out + first * out_stride + o, of_row, scale + first, weight_scale + o,
                             bias ? bias + o : NULL, width, &plan);
                }
            }
        }
    }
}

void ee_linear_qs8_amx(float *out, const int8_t *q, const float *scale, const int8_t *weight,
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
    _tile_release();
}

void ee_pack_linear_amx(int8_t *to, const int8_t *weight, size_t in, size_t outs,
                        size_t weight_stride)
{
    const size_t padded = ee_row_stride_qs8(in);
    const size_t depth = ee_size_min(padded, TILE_DEPTH);
    const tile_plan plan = {.depth = depth, .last = padded - depth, .weight_stride = weight_stride};

    for (size_t o = 0; o < outs; o += BLOCK_OUTS) {
        pack_weights(to + o * ee_packed_stride_qs8(in), weight + o * weight_stride, outs - o, 0,
                     padded, &plan);
    }
}

EE_TARGET_END

#endif
