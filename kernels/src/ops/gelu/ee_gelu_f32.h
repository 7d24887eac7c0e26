/* ee_gelu_f32.h: the fit of ee_ref/ops/gelu.py, the same in every variant:
 * upper(a) exp(a a / 2) = the sum over n = 1, 2, ... of terms[n] t^n, t = 1 / (1 + 0.3 a). */
#ifndef EE_GELU_F32_H
#define EE_GELU_F32_H

enum { EE_GELU_TERMS = 9 };

static const float EE_GELU_SHAPE = 0.3f;
static const float EE_GELU_FIT[EE_GELU_TERMS] = {
    0.11968263f, 0.11969107f, 0.10870054f, 0.0892812f,
    0.0502673f, 0.039096355f, 0.0032158804f, -0.048535116f,
    0.01860035f,
};

#endif
