#include "ee_kernels.h"

static const ee_ops_f32 OPS_C = {
    .linear = ee_linear_f32_c,
    .layer_norm = ee_layer_norm_f32_c,
    .silu = ee_silu_f32_c,
    .glu = ee_glu_f32_c,
    .softmax = ee_softmax_f32_c,
    .log_softmax = ee_log_softmax_f32_c,
    .depthwise_conv = ee_depthwise_conv_f32_c,
};

#ifdef EE_HAVE_AVX2
static const ee_ops_f32 OPS_AVX2 = {
    .linear = ee_linear_f32_avx2,
    .layer_norm = ee_layer_norm_f32_avx2,
    .silu = ee_silu_f32_avx2,
    .glu = ee_glu_f32_avx2,
    .softmax = ee_softmax_f32_avx2,
    .log_softmax = ee_log_softmax_f32_avx2,
    .depthwise_conv = ee_depthwise_conv_f32_avx2,
};
#endif

ee_isa ee_isa_best(void)
{
#ifdef EE_HAVE_AVX2
    /* The builtins also ask whether the operating system saves the wide registers. */
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        return EE_ISA_AVX2;
    }
#endif
    return EE_ISA_C;
}

const ee_ops_f32 *ee_ops_f32_for(ee_isa isa)
{
    switch (isa) {
    case EE_ISA_C:
        return &OPS_C;
    case EE_ISA_AVX2:
#ifdef EE_HAVE_AVX2
        return &OPS_AVX2;
#else
        return NULL;
#endif
    }
    return NULL;
}

const char *ee_isa_name(ee_isa isa)
{
    switch (isa) {
    case EE_ISA_C:
        return "c";
    case EE_ISA_AVX2:
        return "avx2";
    }
    return NULL;
}

size_t ee_row_stride(size_t n)
{
    return (n + 3) / 4 * 4;
}
