EE_TARGET_BEGIN(EE_VECTOR_TARGET)

static inline void layer_norm_vector(float *out, const float *x, const float *weight,
                                     const float *bias, size_t rows, size_t dim, float eps)
{
    const size_t left = dim % EE_LANES;
    const size_t whole = dim - left;
    const ee_vec zero = ee_set(0.0f);

    for (size_t t = 0; t < rows; t++, out += dim, x += dim) {
        ee_vec sum = ee_load_part(x + whole, left);
        for (size_t d = 0; d < whole; d += EE_LANES) {
            sum = ee_add(sum, ee_load(x + d));
        }
        const ee_vec mean = ee_set(ee_sum_lanes(sum) / (float)dim);

        /* Lanes beyond the row would be centred to -mean: they are 0 instead. */
        ee_vec centred = ee_sub(ee_load_part(x + whole, left), mean);
        centred = ee_keep_part(centred, zero, left);
        ee_vec squares = ee_mul(centred, centred);
        for (size_t d = 0; d < whole; d += EE_LANES) {
            centred = ee_sub(ee_load(x + d), mean);
            squares = ee_fma(centred, centred, squares);
        }
        const float variance = ee_sum_lanes(squares) / (float)dim;
        const ee_vec scale = ee_set(1.0f / sqrtf(variance + eps));

        for (size_t d = 0; d < whole; d += EE_LANES) {
            centred = ee_sub(ee_load(x + d), mean);
            ee_store(out + d, ee_fma(ee_mul(centred, scale), ee_load(weight + d),
                                     ee_load(bias + d)));
        }
        if (left > 0) {
            centred = ee_sub(ee_load_part(x + whole, left), mean);
            ee_store_part(out + whole,
                          ee_fma(ee_mul(centred, scale), ee_load_part(weight + whole, left),
                                 ee_load_part(bias + whole, left)), left);
        }
    }
}

EE_TARGET_END
