/* What the library names of libm. sqrtf is an instruction; float32 mode, which alone calls the other
 * two, is not linked. */
#ifndef EE_WASM_MATH_H
#define EE_WASM_MATH_H

#define INFINITY __builtin_inff()

float sqrtf(float x);
float expf(float x);
float logf(float x);

#endif
