EE_TARGET_BEGIN(EE_VECTOR_TARGET)

enum { SIDE_BY_SIDE = 4 };

/* `rows` is a constant where this is called. */
static inline __attribute__((always_inline)) void
softmax_rows(float *out, const float *x, size_t dim, size_t rows)
{
    const size_t left = dim % EE_LANES;
    const size_t whole = dim - left;
    /* Lanes beyond the row count as -inf: no maximum, and nothing to the sum. */
    const ee_vec nothing = ee_set(-INFINITY);
    ee_vec max[SIDE_BY_SIDE], sums[SIDE_BY_SIDE], last[SIDE_BY_SIDE];

    EE_UNROLL
    for (size_t r = 0; r < rows; r++) {
        last[r] = ee_keep_part(ee_load_part(x + r * dim + whole, left), nothing, left);
        max[r] = last[r];
    }
    for (size_t d = 0; d < whole; d += EE_LANES) {
        EE_UNROLL
        for (size_t r = 0; r < rows; r++) {
            max[r] = ee_max(max[r], ee_load(x + r * dim + d));
        }
    }
    EE_UNROLL
    for (size_t r = 0; r < rows; r++) {
        max[r] = ee_set(ee_max_lanes(max[r]));
        last[r] = ee_exp_below(ee_sub(last[r], max[r]));
        sums[r] = last[r];
    }
    for (size_t d = 0; d < whole; d += EE_LANES) {
        EE_UNROLL
        for (size_t r = 0; r < rows; r++) {
            const ee_vec e = ee_exp_below(ee_sub(ee_load(x + r * dim + d), max[r]));
            sums[r] = ee_add(sums[r], e);
            ee_store(out + r * dim + d, e);
        }
    }
    EE_UNROLL
    for (size_t r = 0; r < rows; r++) {
        sums[r] = ee_set(1.0f / ee_sum_lanes(sums[r]));
    }
    for (size_t d = 0; d < whole; d += EE_LANES) {
        EE_UNROLL
        for (size_t r = 0; r < rows; r++) {
            ee_store(out + r * dim + d, ee_mul(ee_load(out + r * dim + d), sums[r]));
        }
    }
    for (size_t r = 0; left > 0 && r < rows; r++) {
        ee_store_part(out + r * dim + whole, ee_mul(last[r], sums[r]), left);
    }
}

/* Rows side by side: one waits for its maximum and for its sum longer than it takes to exponentiate
 * a vector. */
static inline void softmax_vector(float *out, const float *x, size_t rows, size_t dim)
{
    size_t t = 0;

    for (; t + SIDE_BY_SIDE <= rows; t += SIDE_BY_SIDE) {
        softmax_rows(out + t * dim, x + t * dim, dim, SIDE_BY_SIDE);
    }
    for (; t < rows; t++) {
        softmax_rows(out + t * dim, x + t * dim, dim, 1);
    }
}

EE_TARGET_END
