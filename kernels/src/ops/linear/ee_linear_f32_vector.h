/* The matrix product of float32 kernels over ee_vector_<isa>.h.
 *
 * Outputs lie across lanes. A tile is EE_TILE_ROWS rows by two vectors of outputs: each step along
 * `in` loads two vectors of weights and spreads one x a row, and every output is one chain of fused
 * multiply-adds. The weights have `in` innermost, so a panel of them, one tile wide, is transposed
 * on the way into PANEL: once for all rows of a call, and next to nothing for 50 rows or more. It
 * stays in the first-level cache, and a block of x, ROW_BLOCK by IN_BLOCK, in the second.
 *
 * An output is the sum of its blocks of `in`, each summed from 0 in the order of `in`. So its value
 * depends on nothing but its row of x and its row of weights: not on the tile, the number of rows,
 * the lane or the vector length. */
enum {
    IN_BLOCK = 352,
    ROW_BLOCK = 256,
    TILE_OUTS = 2 * EE_LANES,
    PANEL_FLOATS = IN_BLOCK * TILE_OUTS,
    LINE_FLOATS = 16
};

EE_TARGET_BEGIN(EE_VECTOR_TARGET)

/* What the tiles of one panel have in common. */
typedef struct {
    size_t depth, out_stride, x_stride, start_stride;
    size_t outs; /* that exist, up to TILE_OUTS */
} tile_shape;

/* 8 weight rows by 8: to[i * TILE_OUTS + n] = row n, float i. The halves of the rows are joined as
 * they are loaded, which leaves two rounds of shuffles of the three of a transposition. */
static inline void pack_8x8(float *to, const float *const *from, size_t at)
{
    __m256 joined[8], pairs[8];

    for (size_t n = 0; n < 4; n++) {
        for (size_t half = 0; half < 2; half++) {
            joined[half * 4 + n] = _mm256_insertf128_ps(
                _mm256_castps128_ps256(_mm_loadu_ps(from[n] + at + 4 * half)),
                _mm_loadu_ps(from[n + 4] + at + 4 * half), 1);
        }
    }
    for (size_t half = 0; half < 8; half += 4) {
        pairs[half] = _mm256_unpacklo_ps(joined[half], joined[half + 1]);
        pairs[half + 1] = _mm256_unpackhi_ps(joined[half], joined[half + 1]);
        pairs[half + 2] = _mm256_unpacklo_ps(joined[half + 2], joined[half + 3]);
        pairs[half + 3] = _mm256_unpackhi_ps(joined[half + 2], joined[half + 3]);
        for (size_t i = 0; i < 2; i++) {
            float *const row = to + (half + 2 * i) * TILE_OUTS;
            _mm256_store_ps(row, _mm256_shuffle_ps(pairs[half + i], pairs[half + i + 2],
                                                   _MM_SHUFFLE(1, 0, 1, 0)));
            _mm256_store_ps(row + TILE_OUTS, _mm256_shuffle_ps(pairs[half + i], pairs[half + i + 2],
                                                               _MM_SHUFFLE(3, 2, 3, 2)));
        }
    }
}

/* A panel of `outs` weight rows by `depth`: to[i * TILE_OUTS + o]. Rows that do not exist are the
 * last one again; their outputs are not written. */
static void pack_panel(float *to, const float *weight, size_t depth, size_t outs,
                       size_t weight_stride)
{
    for (size_t o = 0; o < TILE_OUTS; o += 8) {
        const float *from[8];
        size_t i = 0;

        for (size_t n = 0; n < 8; n++) {
            from[n] = weight + (o + n < outs ? o + n : outs - 1) * weight_stride;
        }
        for (; i + 8 <= depth; i += 8) {
            pack_8x8(to + i * TILE_OUTS + o, from, i);
        }
        for (; i < depth; i++) {
            for (size_t n = 0; n < 8; n++) {
                to[i * TILE_OUTS + o + n] = from[n][i];
            }
        }
    }
}

/* `rows` x TILE_OUTS outputs. Adds to `start` unless that is NULL. `rows` is a constant where this
 * is called, so that the sums stay in registers. */
static inline __attribute__((always_inline)) void
linear_tile(float *out, const float *x, const float *panel, const float *start,
            const tile_shape *shape, size_t rows)
{
    const size_t x_stride = shape->x_stride, depth = shape->depth;
    ee_vec sums[EE_TILE_ROWS][2];

    /* Outputs that are not in the cache can come while the sums are formed. */
    for (size_t r = 0; r < rows; r++) {
        __builtin_prefetch(out + r * shape->out_stride, 1);
        sums[r][0] = sums[r][1] = ee_set(0.0f);
    }
    EE_UNROLL_BY(2)
    for (size_t i = 0; i < depth; i++) {
        const ee_vec w0 = ee_load(panel + i * TILE_OUTS);
        const ee_vec w1 = ee_load(panel + i * TILE_OUTS + EE_LANES);

        for (size_t r = 0; r < rows; r++) {
            const ee_vec v = ee_set(x[r * x_stride + i]);
            sums[r][0] = ee_fma(v, w0, sums[r][0]);
            sums[r][1] = ee_fma(v, w1, sums[r][1]);
        }
    }

    if (shape->outs == TILE_OUTS) {
        for (size_t r = 0; r < rows; r++) {
            for (size_t n = 0; n < 2; n++) {
                if (start) {
                    sums[r][n] = ee_add(ee_load(start + r * shape->start_stride + n * EE_LANES),
                                        sums[r][n]);
                }
                ee_store(out + r * shape->out_stride + n * EE_LANES, sums[r][n]);
            }
        }
        return;
    }
    for (size_t n = 0; n * EE_LANES < shape->outs; n++) {
        const size_t left = shape->outs - n * EE_LANES;
        const size_t lanes = left < EE_LANES ? left : EE_LANES;

        for (size_t r = 0; r < rows; r++) {
            ee_vec sum = n == 0 ? sums[r][0] : sums[r][1];
            if (start) {
                sum = ee_add(ee_load_part(start + r * shape->start_stride + n * EE_LANES, lanes),
                             sum);
            }
            ee_store_part(out + r * shape->out_stride + n * EE_LANES, sum, lanes);
        }
    }
}

#define TILE_OF(n) \
    case n: linear_tile(out, x, panel, start, shape, n); break;

static void tile_of_rows(float *out, const float *x, const float *panel, const float *start,
                         const tile_shape *shape, size_t rows)
{
    switch (rows) {
        TILE_OF(1) TILE_OF(2) TILE_OF(3) TILE_OF(4) TILE_OF(5) TILE_OF(6)
#if EE_TILE_ROWS > 6
        TILE_OF(7) TILE_OF(8) TILE_OF(9) TILE_OF(10) TILE_OF(11) TILE_OF(12) TILE_OF(13) TILE_OF(14)
#endif
    }
}

/* Fetches lines first..last-1 of `depth` floats of weight rows into the second-level cache. The
 * weights of a model fit no cache, and the hardware does not see where the next panel begins. */
static void fetch_lines(const float *weight, size_t depth, size_t weight_stride, size_t first,
                        size_t last)
{
    const size_t row_lines = (depth + LINE_FLOATS - 1) / LINE_FLOATS;

    for (size_t n = first; n < last; n++) {
        const float *const line = weight + n / row_lines * weight_stride
                                  + n % row_lines * LINE_FLOATS;
        _mm_prefetch((const char *)line, _MM_HINT_T1);
    }
}

static inline void
linear_vector(float *out, const float *x, const float *weight, const float *bias,
              size_t rows, size_t in, size_t outs,
              size_t out_stride, size_t x_stride, size_t weight_stride)
{
    float packed[PANEL_FLOATS] __attribute__((aligned(64)));
    const size_t blocks = (rows + ROW_BLOCK - 1) / ROW_BLOCK;
    /* As few blocks of `in` as fit, of one size but for the last, a multiple of 8. */
    const size_t in_blocks = (in + IN_BLOCK - 1) / IN_BLOCK;
    const size_t in_block = ((in + in_blocks - 1) / in_blocks + 7) / 8 * 8;

    for (size_t b = 0; b < blocks; b++) {
        const size_t begin = rows * b / blocks, end = rows * (b + 1) / blocks;
        /* Tiles of one size, or one row apart: a last tile of a row or two would wait for its sums. */
        const size_t tiles = (end - begin + EE_TILE_ROWS - 1) / EE_TILE_ROWS;

        for (size_t i = 0; i < in; i += in_block) {
            const size_t depth = in - i < in_block ? in - i : in_block;
            /* Where `in` is short, several panels share a pass over x. */
            const size_t group = PANEL_FLOATS / (depth * TILE_OUTS) * TILE_OUTS;

            for (size_t o = 0; o < outs; o += group) {
                const size_t width = outs - o < group ? outs - o : group;
                const float *const w = weight + o * weight_stride + i;
                const int is_last = o + width == outs;
                const float *next = w + width * weight_stride;
                size_t next_depth = depth, next_width = outs - o - width, lines, t = begin;

                if (is_last) {
                    next = weight + i + depth;
                    next_depth = in - i - depth < in_block ? in - i - depth : in_block;
                    next_width = outs;
                }
                next_width = next_width < group ? next_width : group;
                lines = (next_depth + LINE_FLOATS - 1) / LINE_FLOATS * next_width;

                for (size_t p = 0; p < width; p += TILE_OUTS) {
                    pack_panel(packed + p * depth, w + p * weight_stride, depth,
                               width - p < TILE_OUTS ? width - p : TILE_OUTS, weight_stride);
                }
                for (size_t n = 0; n < tiles; n++) {
                    const size_t t_end = begin + (end - begin) * (n + 1) / tiles;

                    fetch_lines(next, next_depth, weight_stride, lines * n / tiles,
                                lines * (n + 1) / tiles);
                    for (size_t p = 0; p < width; p += TILE_OUTS) {
                        /* The first block of `in` adds to the bias, the others to the sum so far. */
                        float *const to = out + t * out_stride + o + p;
                        const float *const start = i > 0 ? to : bias ? bias + o + p : NULL;
                        const tile_shape shape = {
                            depth, out_stride, x_stride, i > 0 ? out_stride : 0,
                            width - p < TILE_OUTS ? width - p : TILE_OUTS,
                        };
                        tile_of_rows(to, x + t * x_stride + i, packed + p * depth, start, &shape,
                                     t_end - t);
                    }
                    t = t_end;
                }
            }
        }
    }
}

EE_TARGET_END
