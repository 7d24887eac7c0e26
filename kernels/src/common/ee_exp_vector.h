/* ee_exp_vector.h: exponentials over ee_vector_<isa>.h.
 *
 * x = n ln 2 + r with |r| <= ln 2 / 2, so exp(x) = 2^n exp(r). Adding SHIFT rounds x / ln 2 to an
 * integer in the low bits of the sum, with `bias` added to it: shifted up by 23 bits they are the
 * float 2^n. With a fused multiply-add ln 2 can be taken away in one step: its own rounding is off by
 * 2e-9 n of the result, where n is large only if the result is next to nothing or next to
 * infinite. exp(r) = 1 + r (1 + r p(r)) with a p of degree 3, fitted for the least relative error of
 * the whole: 1.05e-7, less than a unit in the last place. */
#ifndef EE_EXP_VECTOR_H
#define EE_EXP_VECTOR_H

EE_TARGET_BEGIN(EE_VECTOR_TARGET)

/* exp(r), and in *power 2^(n + bias - 127); x within -105 to 89. */
static inline ee_vec ee_exp_parts(ee_vec x, float bias, ee_vec *power)
{
    const ee_vec shift = ee_set(12582912.0f + bias); /* 1.5 * 2^23 */
    const ee_vec shifted = ee_fma(x, ee_set(1.44269504f), shift);
    const ee_vec r = ee_fnma(ee_sub(shifted, shift), ee_set(0.693147181f), x);

    ee_vec p = ee_set(8.31252e-3f);
    p = ee_fma(p, r, ee_set(4.189016e-2f));
    p = ee_fma(p, r, ee_set(1.6667115e-1f));
    p = ee_fma(p, r, ee_set(4.9999231e-1f));
    p = ee_fma(p, r, ee_set(1.0f));
    *power = ee_to_exponent(shifted);
    return ee_fma(p, r, ee_set(1.0f));
}

/* exp(x) for x <= 0: subnormal results are kept, -inf gives 0, NaN gives NaN. 2^n alone would leave
 * the range of exponents where the result is subnormal, so it is lifted by 64 and lowered again. */
static inline ee_vec ee_exp_below(ee_vec x)
{
    ee_vec power;
    const ee_vec p = ee_exp_parts(ee_max(ee_set(-105.0f), x), 127.0f + 64.0f, &power);

    return ee_mul(ee_mul(p, power), ee_set(5.42101086e-20f)); /* 2^-64 */
}

/* value / (1 + exp(-gate)). Exponentials below 2^-126, which add nothing to 1, may be 0. */
static inline ee_vec ee_gate(ee_vec value, ee_vec gate)
{
    ee_vec power;
    const ee_vec x = ee_max(ee_set(-88.0f), ee_min(ee_set(89.0f), ee_sub(ee_set(-0.0f), gate)));
    const ee_vec p = ee_exp_parts(x, 127.0f, &power);

    return ee_div(value, ee_fma(p, power, ee_set(1.0f)));
}

EE_TARGET_END

#endif
