#include "ee_gelu_f32.h"

EE_TARGET_BEGIN(EE_VECTOR_TARGET)

static inline ee_vec gelu(ee_vec x)
{
    const ee_vec zero = ee_set(0.0f), one = ee_set(1.0f);
    const ee_vec a = ee_max(x, ee_sub(zero, x));
    const ee_vec t = ee_div(one, ee_fma(ee_set(EE_GELU_SHAPE), a, one));
    const ee_vec power = ee_exp_below(ee_mul(ee_mul(a, a), ee_set(-0.5f)));
    ee_vec terms = ee_set(EE_GELU_FIT[EE_GELU_TERMS - 1]);

    EE_UNROLL
    for (size_t n = EE_GELU_TERMS - 1; n-- > 0;) {
        terms = ee_fma(terms, t, ee_set(EE_GELU_FIT[n]));
    }
    return ee_fnma(a, ee_mul(power, ee_mul(terms, t)), ee_max(x, zero));
}

static inline void gelu_vector(float *out, const float *x, size_t count)
{
    size_t i = 0;

    for (; i + EE_LANES <= count; i += EE_LANES) {
        ee_store(out + i, gelu(ee_load(x + i)));
    }
    if (i < count) {
        ee_store_part(out + i, gelu(ee_load_part(x + i, count - i)), count - i);
    }
}

EE_TARGET_END
