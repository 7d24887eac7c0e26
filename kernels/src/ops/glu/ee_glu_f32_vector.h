EE_TARGET_BEGIN(EE_VECTOR_TARGET)

static inline void glu_vector(float *out, const float *x, size_t rows, size_t dim)
{
    for (size_t t = 0; t < rows; t++, out += dim, x += 2 * dim) {
        const float *const gate = x + dim;
        size_t d = 0;

        for (; d + EE_LANES <= dim; d += EE_LANES) {
            ee_store(out + d, ee_gate(ee_load(x + d), ee_load(gate + d)));
        }
        if (d < dim) {
            const size_t left = dim - d;
            ee_store_part(out + d, ee_gate(ee_load_part(x + d, left), ee_load_part(gate + d, left)),
                          left);
        }
    }
}

EE_TARGET_END
