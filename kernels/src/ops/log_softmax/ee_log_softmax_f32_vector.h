EE_TARGET_BEGIN(EE_VECTOR_TARGET)

static inline void log_softmax_vector(float *out, const float *x, size_t rows, size_t dim)
{
    const size_t left = dim % EE_LANES;
    const size_t whole = dim - left;
    /* Lanes beyond the row count as -inf: no maximum, and nothing to the sum. */
    const ee_vec nothing = ee_set(-INFINITY);

    for (size_t t = 0; t < rows; t++, out += dim, x += dim) {
        const ee_vec last = ee_keep_part(ee_load_part(x + whole, left), nothing, left);

        ee_vec maxima = last;
        for (size_t d = 0; d < whole; d += EE_LANES) {
            maxima = ee_max(maxima, ee_load(x + d));
        }
        const ee_vec max = ee_set(ee_max_lanes(maxima));

        ee_vec sums = ee_exp_below(ee_sub(last, max));
        for (size_t d = 0; d < whole; d += EE_LANES) {
            sums = ee_add(sums, ee_exp_below(ee_sub(ee_load(x + d), max)));
        }
        const ee_vec log_sum = ee_set(logf(ee_sum_lanes(sums)));

        for (size_t d = 0; d < whole; d += EE_LANES) {
            ee_store(out + d, ee_sub(ee_sub(ee_load(x + d), max), log_sum));
        }
        if (left > 0) {
            ee_store_part(out + whole, ee_sub(ee_sub(last, max), log_sum), left);
        }
    }
}

EE_TARGET_END
