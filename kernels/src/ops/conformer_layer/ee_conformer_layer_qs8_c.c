#include "../../ee_qs8.h"

/* Scratch: the output of one module (rows, dim), then the scratch of the module that needs most. */
size_t ee_conformer_layer_qs8_scratch(size_t rows, size_t dim, size_t heads, size_t ff,
                                      size_t kernel)
{
    size_t module = ee_feed_forward_qs8_scratch(rows, dim, ff);

    module = ee_size_max(module, ee_multi_head_attention_qs8_scratch(rows, dim, heads));
    module = ee_size_max(module, ee_conv_module_qs8_scratch(rows, dim, kernel));
    return ee_size_add(ee_floats_qs8(rows, dim), module);
}

/* out = x + y * factor; out may be x. A factor of 1 changes no bit of y. */
static void add_scaled(float *out, const float *x, const float *y, float factor, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        out[i] = x[i] + y[i] * factor;
    }
}

void ee_conformer_layer_qs8_c(float *out, const float *x, const ee_conformer_weights_qs8 *weights,
                              size_t rows, size_t dim, size_t heads, size_t ff, size_t kernel,
                              float eps, void *scratch, const ee_ops_qs8 *ops)
{
    const ee_conformer_weights_qs8 *const w = weights;
    const size_t count = rows * dim;
    char *rest = scratch;
    float *const module = ee_take(&rest, ee_floats_qs8(rows, dim));

    ee_feed_forward_qs8_c(module, x, w->ff1_norm_weight, w->ff1_norm_bias, w->ff1_up_weight,
                          w->ff1_up_weight_scale, w->ff1_up_bias, w->ff1_down_weight,
                          w->ff1_down_weight_scale, w->ff1_down_bias, rows, dim, ff, eps, rest,
                          ops);
    add_scaled(out, x, module, 0.5f, count);

    ops->layer_norm(module, out, w->attn_norm_weight, w->attn_norm_bias, rows, dim, eps);
    ee_multi_head_attention_qs8_c(module, module, w->attn_in_weight, w->attn_in_weight_scale,
                                  w->attn_in_bias, w->attn_out_weight, w->attn_out_weight_scale,
                                  w->attn_out_bias, rows, dim, heads, rest, ops);
    add_scaled(out, out, module, 1.0f, count);

    ee_conv_module_qs8_c(module, out, w->conv_norm_weight, w->conv_norm_bias, w->conv_in_weight,
                         w->conv_in_weight_scale, w->conv_in_bias, w->conv_depthwise_weight,
                         w->conv_depthwise_bias, w->conv_out_weight, w->conv_out_weight_scale,
                         w->conv_out_bias, rows, dim, kernel, eps, rest, ops);
    add_scaled(out, out, module, 1.0f, count);

    ee_feed_forward_qs8_c(module, out, w->ff2_norm_weight, w->ff2_norm_bias, w->ff2_up_weight,
                          w->ff2_up_weight_scale, w->ff2_up_bias, w->ff2_down_weight,
                          w->ff2_down_weight_scale, w->ff2_down_bias, rows, dim, ff, eps, rest,
                          ops);
    add_scaled(out, out, module, 0.5f, count);

    ops->layer_norm(out, out, w->norm_weight, w->norm_bias, rows, dim, eps);
}
