/* The depthwise convolution over ee_vector_<isa>.h, for both modes: who includes this says before it
 * how a product is added to a sum, ADD_PRODUCT(sum, v, w).
 *
 * Channels lie across lanes, and every output is one chain of taps in order. TILE_ROWS rows side by
 * side share the weights and hide the latency of the additions. */
enum { TILE_ROWS = 8, TILE_VECTORS = EE_LANES > 8 ? 2 : 1 };

EE_TARGET_BEGIN(EE_VECTOR_TARGET)

/* `rows` output rows of `vectors` vectors of channels, the last one of `lanes`. All three are
 * constants where that matters, so that the sums stay in registers. */
static inline __attribute__((always_inline)) void
conv_tile(float *out, const float *x, const float *weight, const float *bias, size_t rows,
          size_t vectors, size_t lanes, size_t dim, size_t taps, size_t weight_stride)
{
    ee_vec sums[TILE_ROWS][TILE_VECTORS];

#define LANES(n) ((n) + 1 == vectors ? lanes : (size_t)EE_LANES)
    for (size_t n = 0; n < vectors; n++) {
        for (size_t i = 0; i < rows; i++) {
            sums[i][n] = ee_load_part(bias + n * EE_LANES, LANES(n));
        }
    }
    for (size_t j = 0; j < taps; j++) {
        for (size_t n = 0; n < vectors; n++) {
            const ee_vec w = ee_load_part(weight + j * weight_stride + n * EE_LANES, LANES(n));

            for (size_t i = 0; i < rows; i++) {
                const ee_vec v = ee_load_part(x + (i + j) * dim + n * EE_LANES, LANES(n));
                sums[i][n] = ADD_PRODUCT(sums[i][n], v, w);
            }
        }
    }
    for (size_t n = 0; n < vectors; n++) {
        for (size_t i = 0; i < rows; i++) {
            ee_store_part(out + i * dim + n * EE_LANES, sums[i][n], LANES(n));
        }
    }
#undef LANES
}

static inline void
depthwise_conv_vector(float *out, const float *x, const float *weight, const float *bias,
                      size_t rows, size_t before, size_t after, size_t dim, size_t kernel,
                      size_t ahead, size_t weight_stride)
{
    const size_t frames = before + rows + after;
    const size_t behind = kernel - 1 - ahead;
    size_t width;

    for (size_t d = 0; d < dim; d += width) {
        const size_t is_whole = dim - d >= TILE_VECTORS * EE_LANES;
        const size_t lanes = dim - d < EE_LANES ? dim - d : EE_LANES;

        width = is_whole ? TILE_VECTORS * EE_LANES : lanes;
        for (size_t t = 0; t < rows;) {
            const size_t at = before + t;
            const int is_inside = at >= behind && t + TILE_ROWS <= rows
                                  && at + TILE_ROWS + ahead <= frames;
            /* Taps skipped..last-1 fall on frames that are there. */
            const size_t skipped = at < behind ? behind - at : 0;
            const size_t last = frames + behind - at < kernel ? frames + behind - at : kernel;
            float *const to = out + t * dim + d;
            const float *const from = x + (at + skipped - behind) * dim + d;
            const float *const w = weight + skipped * weight_stride + d;

            if (is_inside && is_whole) {
                conv_tile(to, from, w, bias + d, TILE_ROWS, TILE_VECTORS, EE_LANES, dim, kernel,
                          weight_stride);
            } else if (is_inside) {
                conv_tile(to, from, w, bias + d, TILE_ROWS, 1, lanes, dim, kernel, weight_stride);
            } else if (is_whole) {
                conv_tile(to, from, w, bias + d, 1, TILE_VECTORS, EE_LANES, dim, last - skipped,
                          weight_stride);
            } else {
                conv_tile(to, from, w, bias + d, 1, 1, lanes, dim, last - skipped, weight_stride);
            }
            t += is_inside ? TILE_ROWS : 1;
        }
    }
}

EE_TARGET_END
