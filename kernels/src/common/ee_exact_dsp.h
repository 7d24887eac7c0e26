/* ee_exact_dsp.h: ee_exact.h for the cores that have DSP instructions and at most a scalar unit of
 * floats (Cortex-M4, M7, M33): the same operations on values, and comparisons by their bits. One of
 * floats takes three instructions there, and far more where floats are emulated. */
#ifndef EE_EXACT_DSP_H
#define EE_EXACT_DSP_H

#include "ee_exact.h"
#include "ee_qs8.h"
#include "ee_target.h"

/* Twice the bits of |x|: in the order of the magnitudes. */
static inline uint32_t ee_magnitude_bits(float x)
{
    return ee_float_bits(x) << 1;
}

/* max |x[i]|, 0 without values. */
static inline float ee_largest_by_bits(const float *x, size_t count)
{
    uint32_t max = 0;

    EE_UNROLL_BY(4)
    for (size_t i = 0; i < count; i++) {
        const uint32_t magnitude = ee_magnitude_bits(x[i]);
        max = magnitude > max ? magnitude : max;
    }
    return ee_bits_float(max >> 1);
}

/* value / (1 + exp(-gate)) for gates that exp clamps; a call, which leaves the other path of a loop
 * its registers. */
static __attribute__((noinline, unused)) float ee_far_gate(float value, float gate)
{
    return value / (1.0f + ee_exp(-gate));
}

/* value / (1 + exp(-gate)) */
static inline float ee_gate_by_bits(float value, float gate)
{
    if (ee_magnitude_bits(gate) > ee_magnitude_bits(87.0f)) {
        return ee_far_gate(value, gate);
    }
    return value / (1.0f + ee_exp_in_range(-gate));
}

#endif
