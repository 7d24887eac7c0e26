#include "ee.h"

#if defined(EE_HAVE_DOT) && defined(__linux__)
#include <sys/auxv.h>
#endif

/* The tables of one instruction set are named after it; an op without a variant of its own takes
 * that of the set before. */

#ifndef EE_NO_F32
static const ee_ops_f32 F32_C = {
    .linear = ee_linear_f32_c,
    .layer_norm = ee_layer_norm_f32_c,
    .silu = ee_silu_f32_c,
    .glu = ee_glu_f32_c,
    .softmax = ee_softmax_f32_c,
    .log_softmax = ee_log_softmax_f32_c,
    .depthwise_conv = ee_depthwise_conv_f32_c,
};
#define F32(table) &table
#else
#define F32(table) NULL
#endif

/* Everything but the op where nearly all the time goes. */
#define QS8_GLUE_C                            \
    .quantize = ee_quantize_qs8_c,            \
    .quantize_digits = ee_quantize_digits_qs8_c, \
    .layer_norm = ee_layer_norm_qs8_c,        \
    .silu = ee_silu_qs8_c,                    \
    .glu = ee_glu_qs8_c,                      \
    .softmax = ee_softmax_qs8_c,              \
    .log_softmax = ee_log_softmax_qs8_c,      \
    .depthwise_conv = ee_depthwise_conv_qs8_c

static const ee_ops_qs8 QS8_C = {QS8_GLUE_C, .linear = ee_linear_qs8_c};
static const ee_ops OPS_C = {F32(F32_C), &QS8_C};

#ifdef EE_HAVE_AVX2
#ifndef EE_NO_F32
static const ee_ops_f32 F32_AVX2 = {
    .linear = ee_linear_f32_avx2,
    .layer_norm = ee_layer_norm_f32_avx2,
    .silu = ee_silu_f32_avx2,
    .glu = ee_glu_f32_avx2,
    .softmax = ee_softmax_f32_avx2,
    .log_softmax = ee_log_softmax_f32_avx2,
    .depthwise_conv = ee_depthwise_conv_f32_avx2,
};
#endif

#define QS8_GLUE_AVX2                            \
    .quantize = ee_quantize_qs8_avx2,            \
    .quantize_digits = ee_quantize_digits_qs8_avx2, \
    .layer_norm = ee_layer_norm_qs8_avx2,        \
    .silu = ee_silu_qs8_avx2,                    \
    .glu = ee_glu_qs8_avx2,                      \
    .softmax = ee_softmax_qs8_avx2,              \
    .log_softmax = ee_log_softmax_qs8_avx2,      \
    .depthwise_conv = ee_depthwise_conv_qs8_avx2

static const ee_ops_qs8 QS8_AVX2 = {QS8_GLUE_AVX2, .linear = ee_linear_qs8_avx2};
static const ee_ops OPS_AVX2 = {F32(F32_AVX2), &QS8_AVX2};
#endif

#ifdef EE_HAVE_AVX512
#ifndef EE_NO_F32
static const ee_ops_f32 F32_AVX512 = {
    .linear = ee_linear_f32_avx512,
    .layer_norm = ee_layer_norm_f32_avx512,
    .silu = ee_silu_f32_avx512,
    .glu = ee_glu_f32_avx512,
    .softmax = ee_softmax_f32_avx512,
    .log_softmax = ee_log_softmax_f32_avx512,
    .depthwise_conv = ee_depthwise_conv_f32_avx512,
};
#endif

/* Sums of floats have eight lanes in int8 mode: ops with one sum a row stay with AVX2. */
#define QS8_GLUE_AVX512                              \
    .quantize = ee_quantize_qs8_avx512,              \
    .quantize_digits = ee_quantize_digits_qs8_avx2,  \
    .layer_norm = ee_layer_norm_qs8_avx2,            \
    .silu = ee_silu_qs8_avx512,                      \
    .glu = ee_glu_qs8_avx512,                        \
    .softmax = ee_softmax_qs8_avx512,                \
    .log_softmax = ee_log_softmax_qs8_avx2,          \
    .depthwise_conv = ee_depthwise_conv_qs8_avx512

static const ee_ops_qs8 QS8_AVX512 = {QS8_GLUE_AVX512, .linear = ee_linear_qs8_avx2};
static const ee_ops OPS_AVX512 = {F32(F32_AVX512), &QS8_AVX512};
#endif

#ifdef EE_HAVE_VNNI
static const ee_ops_qs8 QS8_VNNI = {QS8_GLUE_AVX512, .linear = ee_linear_qs8_vnni};
static const ee_ops OPS_VNNI = {F32(F32_AVX512), &QS8_VNNI};
#endif

#ifdef EE_HAVE_NEON
#ifndef EE_NO_F32
static const ee_ops_f32 F32_NEON = {
    .linear = ee_linear_f32_neon,
    .layer_norm = ee_layer_norm_f32_neon,
    .silu = ee_silu_f32_neon,
    .glu = ee_glu_f32_neon,
    .softmax = ee_softmax_f32_neon,
    .log_softmax = ee_log_softmax_f32_neon,
    .depthwise_conv = ee_depthwise_conv_f32_neon,
};
#endif

#define QS8_GLUE_NEON                            \
    .quantize = ee_quantize_qs8_neon,            \
    .quantize_digits = ee_quantize_digits_qs8_neon, \
    .layer_norm = ee_layer_norm_qs8_neon,        \
    .silu = ee_silu_qs8_neon,                    \
    .glu = ee_glu_qs8_neon,                      \
    .softmax = ee_softmax_qs8_neon,              \
    .log_softmax = ee_log_softmax_qs8_neon,      \
    .depthwise_conv = ee_depthwise_conv_qs8_neon

static const ee_ops_qs8 QS8_NEON = {QS8_GLUE_NEON, .linear = ee_linear_qs8_neon};
static const ee_ops OPS_NEON = {F32(F32_NEON), &QS8_NEON};
#endif

#ifdef EE_HAVE_DOT
static const ee_ops_qs8 QS8_DOT = {QS8_GLUE_NEON, .linear = ee_linear_qs8_dot};
static const ee_ops OPS_DOT = {F32(F32_NEON), &QS8_DOT};
#endif

#ifdef EE_HAVE_I8MM
static const ee_ops_qs8 QS8_I8MM = {QS8_GLUE_NEON, .linear = ee_linear_qs8_i8mm};
static const ee_ops OPS_I8MM = {F32(F32_NEON), &QS8_I8MM};
#endif

#ifdef EE_HAVE_DSP
static const ee_ops_qs8 QS8_DSP = {QS8_GLUE_C, .linear = ee_linear_qs8_dsp};
static const ee_ops OPS_DSP = {F32(F32_C), &QS8_DSP};
#endif

#ifdef EE_HAVE_MVE
static const ee_ops_qs8 QS8_MVE = {QS8_GLUE_C, .linear = ee_linear_qs8_mve};
static const ee_ops OPS_MVE = {F32(F32_C), &QS8_MVE};
#endif

ee_isa ee_isa_best(void)
{
#if defined(EE_HAVE_AVX2)
    /* The builtins also ask whether the operating system saves the wide registers. */
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) {
        return EE_ISA_C;
    }
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw")
        || !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vl")) {
        return EE_ISA_AVX2;
    }
    return __builtin_cpu_supports("avx512vnni") ? EE_ISA_VNNI : EE_ISA_AVX512;
#elif defined(EE_HAVE_DOT)
#if defined(__linux__)
    const unsigned long dot_product = 1ul << 20; /* HWCAP_ASIMDDP */
    if (!(getauxval(AT_HWCAP) & dot_product)) {
        return EE_ISA_NEON;
    }
#ifdef EE_HAVE_I8MM
    const unsigned long matrix_product = 1ul << 13; /* HWCAP2_I8MM */
    if (getauxval(AT_HWCAP2) & matrix_product) {
        return EE_ISA_I8MM;
    }
#endif
    return EE_ISA_DOT;
#elif defined(EE_HAVE_I8MM) && defined(__ARM_FEATURE_MATMUL_INT8)
    return EE_ISA_I8MM;
#elif defined(__ARM_FEATURE_DOTPROD)
    return EE_ISA_DOT;
#else
    return EE_ISA_NEON;
#endif
#elif defined(EE_HAVE_MVE)
    return EE_ISA_MVE;
#elif defined(EE_HAVE_DSP)
    return EE_ISA_DSP;
#else
    return EE_ISA_C;
#endif
}

const ee_ops *ee_ops_for(ee_isa isa)
{
    switch (isa) {
    case EE_ISA_C:
        return &OPS_C;
#ifdef EE_HAVE_AVX2
    case EE_ISA_AVX2:
        return &OPS_AVX2;
#endif
#ifdef EE_HAVE_AVX512
    case EE_ISA_AVX512:
        return &OPS_AVX512;
#endif
#ifdef EE_HAVE_VNNI
    case EE_ISA_VNNI:
        return &OPS_VNNI;
#endif
#ifdef EE_HAVE_NEON
    case EE_ISA_NEON:
        return &OPS_NEON;
#endif
#ifdef EE_HAVE_DOT
    case EE_ISA_DOT:
        return &OPS_DOT;
#endif
#ifdef EE_HAVE_I8MM
    case EE_ISA_I8MM:
        return &OPS_I8MM;
#endif
#ifdef EE_HAVE_DSP
    case EE_ISA_DSP:
        return &OPS_DSP;
#endif
#ifdef EE_HAVE_MVE
    case EE_ISA_MVE:
        return &OPS_MVE;
#endif
    default:
        return NULL;
    }
}

const ee_ops_f32 *ee_ops_f32_for(ee_isa isa)
{
    const ee_ops *const ops = ee_ops_for(isa);

    return ops != NULL ? ops->f32 : NULL;
}

const ee_ops_qs8 *ee_ops_qs8_for(ee_isa isa)
{
    const ee_ops *const ops = ee_ops_for(isa);

    return ops != NULL ? ops->qs8 : NULL;
}

const char *ee_isa_name(ee_isa isa)
{
    static const char *const NAMES[] = {
        "c", "avx2", "avx512", "vnni", "neon", "dot", "dsp", "mve", "i8mm",
    };
    const size_t number = (size_t)isa;

    return number < sizeof(NAMES) / sizeof(NAMES[0]) ? NAMES[number] : NULL;
}

size_t ee_row_stride(size_t n)
{
    return (n + 3) / 4 * 4;
}

size_t ee_row_stride_qs8(size_t n)
{
    return (n + 15) / 16 * 16;
}
