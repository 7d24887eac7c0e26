EE_TARGET_BEGIN(EE_VECTOR_TARGET)

static inline void silu_vector(float *out, const float *x, size_t count)
{
    size_t i = 0;

    for (; i + EE_LANES <= count; i += EE_LANES) {
        const ee_vec v = ee_load(x + i);
        ee_store(out + i, ee_gate(v, v));
    }
    if (i < count) {
        const ee_vec v = ee_load_part(x + i, count - i);
        ee_store_part(out + i, ee_gate(v, v), count - i);
    }
}

EE_TARGET_END
