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
    ROW_BLOCK = 384,
    TILE_OUTS = 2 * EE_LANES,
    PANEL_FLOATS = IN_BLOCK * TILE_OUTS,
    LINE_FLOATS = 16,
    FEW_ROWS = 2,
    FEW_OUTS = 4,
    FETCH_FLOATS = 4 * LINE_FLOATS
};

EE_TARGET_BEGIN(EE_VECTOR_TARGET)

/* What the tiles of one panel have in common. */
typedef struct {
    size_t depth, out_stride, x_stride, start_stride;
    size_t outs;         /* that exist, up to TILE_OUTS */
    const float *fetch;  /* the rows of the next weights that this tile fetches */
    size_t fetch_rows, fetch_depth, fetch_stride;
} tile_shape;

/* A panel of `outs` weight rows by `depth`: to[i * TILE_OUTS + o]. Rows that do not exist are the
 * last one again; their outputs are not written. */
static void pack_panel(float *to, const float *weight, size_t depth, size_t outs,
                       size_t weight_stride)
{
    for (size_t o = 0; o < TILE_OUTS; o += EE_LANES) {
        const float *from[EE_LANES];
        size_t i = 0;

        for (size_t n = 0; n < EE_LANES; n++) {
            from[n] = weight + (o + n < outs ? o + n : outs - 1) * weight_stride;
        }
        for (; i + EE_LANES <= depth; i += EE_LANES) {
            ee_transpose_rows(to + i * TILE_OUTS + o, TILE_OUTS, from, i);
        }
        for (; i < depth; i++) {
            for (size_t n = 0; n < EE_LANES; n++) {
                to[i * TILE_OUTS + o + n] = from[n][i];
            }
        }
    }
}

static inline void pack_vector(float *to, const float *weight, size_t in, size_t outs,
                               size_t weight_stride)
{
    for (size_t o = 0; o < outs; o += TILE_OUTS) {
        pack_panel(to + o * in, weight + o * weight_stride, in,
                   outs - o < TILE_OUTS ? outs - o : TILE_OUTS, weight_stride);
    }
}

/* Fetches floats begin..end-1, of fetch_depth, of some rows of the next weights. The weights of a
 * model fit no cache, and the hardware does not see where the next panel begins. A few lines at a
 * time, spread over the products: a core that waits for many lines waits altogether. Into the
 * first-level cache, of which they push each other out again: that took 0.985 of the time of a whole
 * pass with a hint for the second level (Zen 5, packed or not). */
static inline __attribute__((always_inline)) void
fetch_lines(const tile_shape *shape, size_t begin, size_t end)
{
    const size_t last = shape->fetch_depth < end ? shape->fetch_depth : end;

    for (size_t n = 0; n < shape->fetch_rows; n++) {
        for (size_t i = begin; i < last; i += LINE_FLOATS) {
            _mm_prefetch((const char *)(shape->fetch + n * shape->fetch_stride + i), _MM_HINT_T0);
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
    const size_t out_stride = shape->out_stride, start_stride = shape->start_stride;
    ee_vec sums[EE_TILE_ROWS][2];

    for (size_t r = 0; r < rows; r++) {
        sums[r][0] = sums[r][1] = ee_set(0.0f);
    }
    for (size_t begin = 0; begin < depth; begin += FETCH_FLOATS) {
        const size_t end = depth - begin < FETCH_FLOATS ? depth : begin + FETCH_FLOATS;

        fetch_lines(shape, begin, end);
        EE_UNROLL_BY(2)
        for (size_t i = begin; i < end; i++) {
            const ee_vec w0 = ee_load(panel + i * TILE_OUTS);
            const ee_vec w1 = ee_load(panel + i * TILE_OUTS + EE_LANES);

            for (size_t r = 0; r < rows; r++) {
                const ee_vec v = ee_set(x[r * x_stride + i]);
                sums[r][0] = ee_fma(v, w0, sums[r][0]);
                sums[r][1] = ee_fma(v, w1, sums[r][1]);
            }
        }
    }

    if (shape->outs == TILE_OUTS) {
        for (size_t r = 0; r < rows; r++) {
            for (size_t n = 0; n < 2; n++) {
                if (start) {
                    sums[r][n] = ee_add(ee_load(start + r * start_stride + n * EE_LANES),
                                        sums[r][n]);
                }
                ee_store(out + r * out_stride + n * EE_LANES, sums[r][n]);
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
                sum = ee_add(ee_load_part(start + r * start_stride + n * EE_LANES, lanes),
                             sum);
            }
            ee_store_part(out + r * out_stride + n * EE_LANES, sum, lanes);
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
        TILE_OF(7) TILE_OF(8) TILE_OF(9)
#endif
    }
}

/* Where the weights of output o and those beside it begin, from input i on; o begins a panel. */
static inline const float *weights_at(const float *weight, size_t o, size_t i, size_t in,
                                      size_t weight_stride)
{
    return weight_stride == 0 ? weight + o * in + i * TILE_OUTS : weight + o * weight_stride + i;
}

static inline void
linear_vector(float *out, const float *x, const float *weight, const float *bias,
              size_t rows, size_t in, size_t outs,
              size_t out_stride, size_t x_stride, size_t weight_stride)
{
    float packed[PANEL_FLOATS] __attribute__((aligned(64)));
    const int is_packed = weight_stride == 0;
    const size_t blocks = (rows + ROW_BLOCK - 1) / ROW_BLOCK;
    /* As few blocks of `in` as fit, of one size but for the last, whole lines. */
    const size_t in_blocks = (in + IN_BLOCK - 1) / IN_BLOCK;
    const size_t in_block =
        ((in + in_blocks - 1) / in_blocks + LINE_FLOATS - 1) / LINE_FLOATS * LINE_FLOATS;

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
                const float *const w = weights_at(weight, o, i, in, weight_stride);
                const int is_last = o + width == outs;
                /* The next weights: beside these, or the first of the next block of `in`. */
                const size_t rest = in - i - depth;
                const float *const next =
                    is_last ? weights_at(weight, 0, i + depth, in, weight_stride)
                            : weights_at(weight, o + width, i, in, weight_stride);
                const size_t next_depth = !is_last ? depth : rest < in_block ? rest : in_block;
                const size_t next_rows = is_last ? outs : outs - o - width;
                const size_t fetch_rows = next_rows < group ? next_rows : group;
                /* A block of a packed panel has no gaps: it is fetched as if it were rows. */
                const size_t fetch_stride = is_packed ? next_depth : weight_stride;
                const float *const panels = is_packed ? w : packed;
                const size_t panel_depth = is_packed ? in : depth;
                size_t fetched = 0, t = begin;

                for (size_t p = 0; !is_packed && p < width; p += TILE_OUTS) {
                    pack_panel(packed + p * depth, w + p * weight_stride, depth,
                               width - p < TILE_OUTS ? width - p : TILE_OUTS, weight_stride);
                }
                for (size_t n = 0; n < tiles; n++) {
                    const size_t t_end = begin + (end - begin) * (n + 1) / tiles;

                    for (size_t p = 0; p < width; p += TILE_OUTS) {
                        const size_t tile_outs = width - p < TILE_OUTS ? width - p : TILE_OUTS;
                        /* The first block of `in` adds to the bias, the others to the sum so far. */
                        float *const to = out + t * out_stride + o + p;
                        const float *const start = i > 0 ? to : bias ? bias + o + p : NULL;
                        const size_t fetch_end =
                            fetch_rows * (n * width + p + tile_outs) / (tiles * width);
                        const tile_shape shape = {
                            .depth = depth, .out_stride = out_stride, .x_stride = x_stride,
                            .start_stride = i > 0 ? out_stride : 0, .outs = tile_outs,
                            .fetch = next + fetched * fetch_stride,
                            .fetch_rows = fetch_end - fetched, .fetch_depth = next_depth,
                            .fetch_stride = fetch_stride,
                        };

                        fetched = fetch_end;
                        tile_of_rows(to, x + t * x_stride + i, panels + p * panel_depth, start,
                                     &shape, t_end - t);
                    }
                    t = t_end;
                }
            }
        }
    }
}

/* `rows` x `outs` dot products with lanes along `in`, both constants where this is called: weights
 * come from memory once, a stream for each output, and rows from the first-level cache. */
static inline __attribute__((always_inline)) void
few_tile(float *out, const float *x, const float *weight, const float *bias, size_t in,
         size_t out_stride, size_t x_stride, size_t weight_stride, size_t rows, size_t outs)
{
    ee_vec sums[FEW_ROWS][FEW_OUTS];
    size_t i = 0;

    for (size_t r = 0; r < rows; r++) {
        for (size_t o = 0; o < outs; o++) {
            sums[r][o] = ee_set(0.0f);
        }
    }
    for (; i < in; i += EE_LANES) {
        const size_t lanes = in - i < EE_LANES ? in - i : EE_LANES;
        ee_vec v[FEW_ROWS];

        for (size_t r = 0; r < rows; r++) {
            const float *const at = x + r * x_stride + i;
            v[r] = lanes == EE_LANES ? ee_load(at) : ee_load_part(at, lanes);
        }
        for (size_t o = 0; o < outs; o++) {
            const float *const at = weight + o * weight_stride + i;
            const ee_vec w = lanes == EE_LANES ? ee_load(at) : ee_load_part(at, lanes);

            for (size_t r = 0; r < rows; r++) {
                sums[r][o] = ee_fma(v[r], w, sums[r][o]);
            }
        }
    }
    for (size_t r = 0; r < rows; r++) {
        for (size_t o = 0; o < outs; o++) {
            const float sum = ee_sum_lanes(sums[r][o]);
            out[r * out_stride + o] = bias ? sum + bias[o] : sum;
        }
    }
}

static inline void
linear_few(float *out, const float *x, const float *weight, const float *bias,
           size_t rows, size_t in, size_t outs,
           size_t out_stride, size_t x_stride, size_t weight_stride)
{
    for (size_t o = 0; o < outs;) {
        const size_t step = outs - o < FEW_OUTS ? 1 : FEW_OUTS;
        const float *const w = weight + o * weight_stride;
        const float *const b = bias ? bias + o : NULL;
        size_t t = 0;

#define FEW(r, n) \
    few_tile(out + t * out_stride + o, x + t * x_stride, w, b, in, out_stride, x_stride, \
             weight_stride, r, n)
        for (; t + FEW_ROWS <= rows; t += FEW_ROWS) {
            step == 1 ? FEW(FEW_ROWS, 1) : FEW(FEW_ROWS, FEW_OUTS);
        }
        for (; t < rows; t++) {
            step == 1 ? FEW(1, 1) : FEW(1, FEW_OUTS);
        }
#undef FEW
        o += step;
    }
}

EE_TARGET_END
