/* ee_log_softmax_exact_lanes.h: the op over the eight lanes of ee_exact_<isa>.h, which is included
 * before this. */
#ifndef EE_LOG_SOFTMAX_EXACT_LANES_H
#define EE_LOG_SOFTMAX_EXACT_LANES_H

static inline void log_softmax_lanes(float *out, const float *x, size_t rows, size_t dim)
{
    const size_t whole = dim - dim % 8, left = dim % 8;

    for (size_t t = 0; t < rows; t++, out += dim, x += dim) {
        const float max = ee_exact_max(x, dim);
        const ee_lanes8 last = ee_exact_sub(ee_exact_load(x + whole, left), max);

        ee_lanes8 lanes = ee_exact_load(x, 0);
        for (size_t d = 0; d < whole; d += 8) {
            const ee_lanes8 shifted = ee_exact_sub(ee_exact_load(x + d, 8), max);
            lanes = ee_exact_add(lanes, ee_exact_exp(shifted));
        }
        lanes = ee_exact_add(lanes, ee_exact_keep(ee_exact_exp(last), left));
        const float log_sum = ee_log(ee_exact_sum(lanes));

        for (size_t d = 0; d < whole; d += 8) {
            const ee_lanes8 shifted = ee_exact_sub(ee_exact_load(x + d, 8), max);
            ee_exact_store(out + d, ee_exact_sub(shifted, log_sum), 8);
        }
        ee_exact_store(out + whole, ee_exact_sub(last, log_sum), left);
    }
}

#endif
