/* syscall() in strict C99. */
#if defined(__linux__)
#define _GNU_SOURCE
#endif

#include "ee_frontend.h"

#ifdef EE_HAVE_AMX
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif
#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

/* The kernels of an instruction set: those of the set before it and, in their place, its own. */
#ifdef __GNUC__
#pragma GCC diagnostic ignored "-Woverride-init"
#endif

#define F32_C                                \
    .linear = ee_linear_f32_c,               \
    .layer_norm = ee_layer_norm_f32_c,       \
    .silu = ee_silu_f32_c,                   \
    .gelu = ee_gelu_f32_c,                   \
    .glu = ee_glu_f32_c,                     \
    .softmax = ee_softmax_f32_c,             \
    .log_softmax = ee_log_softmax_f32_c,     \
    .depthwise_conv = ee_depthwise_conv_f32_c

#define F32_AVX2                                  \
    F32_C,                                        \
    .linear = ee_linear_f32_avx2,                 \
    .layer_norm = ee_layer_norm_f32_avx2,         \
    .silu = ee_silu_f32_avx2,                     \
    .gelu = ee_gelu_f32_avx2,                     \
    .glu = ee_glu_f32_avx2,                       \
    .softmax = ee_softmax_f32_avx2,               \
    .log_softmax = ee_log_softmax_f32_avx2,       \
    .depthwise_conv = ee_depthwise_conv_f32_avx2, \
    .linear_few = ee_linear_few_avx2,             \
    .pack = ee_pack_linear_avx2,                  \
    .panel = 16

#define F32_AVX512                                  \
    F32_AVX2,                                       \
    .linear = ee_linear_f32_avx512,                 \
    .layer_norm = ee_layer_norm_f32_avx512,         \
    .silu = ee_silu_f32_avx512,                     \
    .gelu = ee_gelu_f32_avx512,                     \
    .glu = ee_glu_f32_avx512,                       \
    .softmax = ee_softmax_f32_avx512,               \
    .log_softmax = ee_log_softmax_f32_avx512,       \
    .depthwise_conv = ee_depthwise_conv_f32_avx512, \
    .linear_few = ee_linear_few_avx512,             \
    .pack = ee_pack_linear_avx512,                  \
    .panel = 32

#define F32_VNNI F32_AVX512
#define F32_AMX F32_VNNI

#define F32_NEON                                \
    F32_C,                                      \
    .linear = ee_linear_f32_neon,               \
    .layer_norm = ee_layer_norm_f32_neon,       \
    .silu = ee_silu_f32_neon,                   \
    .gelu = ee_gelu_f32_neon,                   \
    .glu = ee_glu_f32_neon,                     \
    .softmax = ee_softmax_f32_neon,             \
    .log_softmax = ee_log_softmax_f32_neon,     \
    .depthwise_conv = ee_depthwise_conv_f32_neon

#define F32_DOT F32_NEON
#define F32_I8MM F32_NEON
#define F32_DSP F32_C
#define F32_MVE F32_C
#define F32_SIMD128 F32_C

#define QS8_C                                    \
    .quantize = ee_quantize_qs8_c,               \
    .quantize_digits = ee_quantize_digits_qs8_c, \
    .linear = ee_linear_qs8_c,                   \
    .layer_norm = ee_layer_norm_exact_c,         \
    .silu = ee_silu_exact_c,                     \
    .gelu = ee_gelu_exact_c,                     \
    .glu = ee_glu_exact_c,                       \
    .softmax = ee_softmax_qs8_c,                 \
    .log_softmax = ee_log_softmax_exact_c,       \
    .depthwise_conv = ee_depthwise_conv_exact_c

#define QS8_AVX2                                    \
    QS8_C,                                          \
    .quantize = ee_quantize_qs8_avx2,               \
    .quantize_digits = ee_quantize_digits_qs8_avx2, \
    .linear = ee_linear_qs8_avx2,                   \
    .layer_norm = ee_layer_norm_exact_avx2,         \
    .silu = ee_silu_exact_avx2,                     \
    .gelu = ee_gelu_exact_avx2,                     \
    .glu = ee_glu_exact_avx2,                       \
    .softmax = ee_softmax_qs8_avx2,                 \
    .log_softmax = ee_log_softmax_exact_avx2,       \
    .depthwise_conv = ee_depthwise_conv_exact_avx2

#define QS8_AVX512                                    \
    QS8_AVX2,                                         \
    .quantize = ee_quantize_qs8_avx512,               \
    .quantize_digits = ee_quantize_digits_qs8_avx512, \
    .layer_norm = ee_layer_norm_exact_avx512,         \
    .silu = ee_silu_exact_avx512,                     \
    .gelu = ee_gelu_exact_avx512,                     \
    .glu = ee_glu_exact_avx512,                       \
    .softmax = ee_softmax_qs8_avx512,                 \
    .log_softmax = ee_log_softmax_exact_avx512,       \
    .depthwise_conv = ee_depthwise_conv_exact_avx512

#define QS8_VNNI                                \
    QS8_AVX512,                                 \
    .linear = ee_linear_qs8_vnni,               \
    .linear_digits = ee_linear_digits_qs8_vnni, \
    .pack = ee_pack_linear_vnni,                \
    .panel = 32

#define QS8_AMX                  \
    QS8_VNNI,                    \
    .linear = ee_linear_qs8_amx, \
    .linear_digits = NULL,       \
    .pack = ee_pack_linear_amx

#define QS8_NEON                                    \
    QS8_C,                                          \
    .quantize = ee_quantize_qs8_neon,               \
    .quantize_digits = ee_quantize_digits_qs8_neon, \
    .linear = ee_linear_qs8_neon,                   \
    .layer_norm = ee_layer_norm_exact_neon,         \
    .silu = ee_silu_exact_neon,                     \
    .gelu = ee_gelu_exact_neon,                     \
    .glu = ee_glu_exact_neon,                       \
    .softmax = ee_softmax_qs8_neon,                 \
    .log_softmax = ee_log_softmax_exact_neon,       \
    .depthwise_conv = ee_depthwise_conv_exact_neon

#define QS8_DOT QS8_NEON, .linear = ee_linear_qs8_dot
#define QS8_I8MM QS8_DOT, .linear = ee_linear_qs8_i8mm

#define QS8_DSP                                    \
    QS8_C,                                         \
    .quantize = ee_quantize_qs8_dsp,               \
    .quantize_digits = ee_quantize_digits_qs8_dsp, \
    .linear = ee_linear_qs8_dsp,                   \
    .linear_digits = ee_linear_digits_qs8_dsp,     \
    .layer_norm = ee_layer_norm_exact_dsp,         \
    .silu = ee_silu_exact_dsp,                     \
    .glu = ee_glu_exact_dsp,                       \
    .softmax = ee_softmax_qs8_dsp,                 \
    .depthwise_conv = ee_depthwise_conv_exact_dsp

/* A vector unit of integers alone leaves the floats to the scalar one. */
#ifndef EE_HAVE_MVE_FLOATS
#define QS8_MVE QS8_DSP, .linear = ee_linear_qs8_mve, .linear_digits = NULL
#define MEL_MVE .mel_block = NULL
#else
#define QS8_MVE                                    \
    QS8_DSP,                                       \
    .quantize = ee_quantize_qs8_mve,               \
    .quantize_digits = ee_quantize_digits_qs8_mve, \
    .linear = ee_linear_qs8_mve,                   \
    .linear_digits = ee_linear_digits_qs8_mve,     \
    .layer_norm = ee_layer_norm_exact_mve,         \
    .silu = ee_silu_exact_mve,                     \
    .glu = ee_glu_exact_mve,                       \
    .softmax = ee_softmax_qs8_mve,                 \
    .log_softmax = ee_log_softmax_exact_mve,       \
    .depthwise_conv = ee_depthwise_conv_exact_mve
#define MEL_MVE .mel_block = ee_mel_block_mve, .mel_frames = 4
#endif

#define QS8_SIMD128                                    \
    QS8_C,                                             \
    .quantize = ee_quantize_qs8_simd128,               \
    .quantize_digits = ee_quantize_digits_qs8_simd128, \
    .linear = ee_linear_qs8_simd128,                   \
    .layer_norm = ee_layer_norm_exact_simd128,         \
    .silu = ee_silu_exact_simd128,                     \
    .glu = ee_glu_exact_simd128,                       \
    .softmax = ee_softmax_qs8_simd128,                 \
    .log_softmax = ee_log_softmax_exact_simd128,       \
    .depthwise_conv = ee_depthwise_conv_exact_simd128

#define BOTH_C .exit_row = ee_exit_row_c, .crc32 = ee_crc32_c
#define BOTH_AVX2                                         \
    .exit_row = ee_exit_row_avx2, .crc32 = ee_crc32_avx2, \
    .mel_block = ee_mel_block_avx2, .mel_frames = 8
#define BOTH_AVX512                             \
    BOTH_AVX2, .exit_row = ee_exit_row_avx512,  \
    .mel_block = ee_mel_block_avx512, .mel_frames = 16
#define BOTH_VNNI BOTH_AVX512
#define BOTH_AMX BOTH_VNNI
#define BOTH_NEON BOTH_C, .mel_block = ee_mel_block_neon, .mel_frames = 4
#define BOTH_DOT BOTH_NEON, .crc32 = ee_crc32_dot
#define BOTH_I8MM BOTH_DOT
#define BOTH_DSP BOTH_C, .crc32 = ee_crc32_dsp
#define BOTH_MVE BOTH_DSP, MEL_MVE
#define BOTH_SIMD128 BOTH_C, .mel_block = ee_mel_block_simd128, .mel_frames = 4

#ifdef EE_NO_F32
#define TABLE_F32(NAME)
#define POINTER_F32(NAME) NULL
#else
#define TABLE_F32(NAME) static const ee_ops_f32 TABLE_F32_##NAME = {F32_##NAME};
#define POINTER_F32(NAME) &TABLE_F32_##NAME
#endif

#define EE_ISA(NAME, name, has)                              \
    TABLE_F32(NAME)                                          \
    static const ee_ops_qs8 TABLE_QS8_##NAME = {QS8_##NAME}; \
    static const ee_ops OPS_##NAME = {POINTER_F32(NAME), &TABLE_QS8_##NAME, BOTH_##NAME};
#include "ee_isas.inc"

const ee_ops *ee_ops_for(ee_isa isa)
{
    static const ee_ops *const OPS[EE_ISA_COUNT] = {
#define EE_ISA(NAME, name, has) [EE_ISA_##NAME] = &OPS_##NAME,
#include "ee_isas.inc"
    };

    return (size_t)isa < EE_ISA_COUNT ? OPS[isa] : NULL;
}

/* What ee_isas.inc asks of the CPU. GCC's builtins also ask whether the operating system saves the
 * wide registers. */
#define X86_HAS(feature) (__builtin_cpu_init(), __builtin_cpu_supports(feature))
#if defined(EE_HAVE_AMX) && !defined(X86_HAS_AMX) /* tests/c/emulated_amx.h says 1 */
#define X86_HAS_AMX amx_is_there()
/* GCC 12 and Clang 14 do not both know these by name. */
static int amx_is_there(void)
{
    enum { TILE = 1 << 24, INT8 = 1 << 25, TILE_STATES = 3 << 17 };
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, TILE_DATA = 18 };
    unsigned a, b, c, d, states, upper;

    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d & TILE) || !(d & INT8)) {
        return 0;
    }
    /* Palette 1 has eight tiles of 16 rows of 64 bytes. */
    if (!__get_cpuid_count(0x1d, 1, &a, &b, &c, &d) || a != (1024u << 16 | 8192)
        || b != (8u << 16 | 64) || (c & 0xffff) != 16) {
        return 0;
    }
    /* The system saves both states of tiles (XGETBV is there: the sets before this one are), and
     * grants their data to this process, which makes the frame of a signal larger. */
    __asm__("xgetbv" : "=a"(states), "=d"(upper) : "c"(0));
    return (states & TILE_STATES) == TILE_STATES
           && syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, TILE_DATA) == 0;
}
#endif
#ifdef __linux__
#define AARCH64_HAS_DOT (getauxval(AT_HWCAP) >> 20 & 1)   /* HWCAP_ASIMDDP */
#define AARCH64_HAS_I8MM (getauxval(AT_HWCAP2) >> 13 & 1) /* HWCAP2_I8MM */
#else
#ifdef __ARM_FEATURE_DOTPROD
#define AARCH64_HAS_DOT 1
#else
#define AARCH64_HAS_DOT 0
#endif
#ifdef __ARM_FEATURE_MATMUL_INT8
#define AARCH64_HAS_I8MM 1
#else
#define AARCH64_HAS_I8MM 0
#endif
#endif

ee_isa ee_isa_best(void)
{
    ee_isa best = EE_ISA_C;

#define EE_ISA(NAME, name, has) \
    if (!(has)) {               \
        return best;            \
    }                           \
    best = EE_ISA_##NAME;
#include "ee_isas.inc"
    return best;
}

const char *ee_isa_name(ee_isa isa)
{
    static const char *const NAMES[EE_ISA_COUNT] = {
#define EE_EVERY_ISA
#define EE_ISA(NAME, name, has) #name,
#include "ee_isas.inc"
    };

    return (size_t)isa < EE_ISA_COUNT ? NAMES[isa] : NULL;
}

static int equal(const char *a, const char *b)
{
    while (*a != '\0' && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}

/* Asks for no set that comes after it: what Linux has to grant has its price. */
ee_isa ee_isa_find(const char *name)
{
#define EE_ISA(NAME, isa, has)  \
    if (!(has)) {               \
        return EE_ISA_COUNT;    \
    }                           \
    if (equal(#isa, name)) {    \
        return EE_ISA_##NAME;   \
    }
#include "ee_isas.inc"
    return EE_ISA_COUNT;
}

size_t ee_row_stride(size_t n)
{
    return (n + 3) / 4 * 4;
}

size_t ee_row_stride_qs8(size_t n)
{
    return (n + 15) / 16 * 16;
}
