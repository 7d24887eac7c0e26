EE_TARGET_BEGIN(EE_VECTOR_TARGET)

static inline void softmax_vector(float *out, const float *x, size_t rows, size_t dim)
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

        const ee_vec last_exp = ee_exp_below(ee_sub(last, max));
        ee_vec sums = last_exp;
        for (size_t d = 0; d < whole; d += EE_LANES) {
            const ee_vec e = ee_exp_below(ee_sub(ee_load(x + d), max));
            sums = ee_add(sums, e);
            ee_store(out + d, e);
        }
        const ee_vec scale = ee_set(1.0f / ee_sum_lanes(sums));

        for (size_t d = 0; d < whole; d += EE_LANES) {
            ee_store(out + d, ee_mul(ee_load(out + d), scale));
        }
        if (left > 0) {
            ee_store_part(out + whole, ee_mul(last_exp, scale), left);
        }
    }
}

EE_TARGET_END
