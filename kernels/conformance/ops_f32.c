/* The float32 ops: arguments by the names of ee_ref/ops, one call of the library each. */
#include "conformance.h"

#ifndef EE_NO_F32

static const ee_ops_f32 *kernels(const question *q)
{
    return q->port->ops->f32;
}

/* `count` floats of scratch; SIZE_MAX is too many. */
static float *take_floats(question *q, size_t count)
{
    return eec_take(q, count > SIZE_MAX / sizeof(float) ? SIZE_MAX : count * sizeof(float));
}

static void run_linear(question *q)
{
    const tensor *const x = eec_input(q);
    size_t outs = 0;

    if (x == NULL) {
        return;
    }
    const size_t rows = x->shape[0], in = x->shape[1];
    const float *const weight = eec_float_weights(q, "weight", &outs, in);
    const float *const bias =
        eec_optional(q, "bias", 'f', 1) != NULL ? eec_floats(q, "bias", outs) : NULL;
    float *const y = eec_output_matrix(q, "y", rows, outs);
    if (q->code == CODE_NONE) {
        kernels(q)->linear(y, x->data, weight, bias, rows, in, outs, outs, in, ee_row_stride(in));
    }
}

static void run_layer_norm(question *q)
{
    eec_ask_layer_norm(q, kernels(q)->layer_norm);
}

static void run_silu(question *q)
{
    eec_ask_silu(q, kernels(q)->silu);
}

static void run_glu(question *q)
{
    eec_ask_glu(q, kernels(q)->glu);
}

static void run_softmax(question *q)
{
    const tensor *const x = eec_input(q);

    if (x == NULL) {
        return;
    }
    float *const y = eec_output_matrix(q, "y", x->shape[0], x->shape[1]);
    if (q->code == CODE_NONE) {
        kernels(q)->softmax(y, x->data, x->shape[0], x->shape[1]);
    }
}

static void run_log_softmax(question *q)
{
    eec_ask_log_softmax(q, kernels(q)->log_softmax);
}

static void run_depthwise_conv(question *q)
{
    eec_ask_depthwise_conv(q, kernels(q)->depthwise_conv);
}

static void run_stem_conv(question *q)
{
    const tensor *const x = eec_input(q);
    const tensor *const matrix = eec_argument(q, "weight", 'f', 2);
    const size_t stride = eec_stride(q);

    if (q->code != CODE_NONE) {
        return;
    }
    const size_t frames = x->shape[0], channels = x->shape[1];
    const size_t kernel = matrix->shape[1] / channels;
    size_t outs = 0;
    const float *const weight = eec_float_weights(q, "weight", &outs, kernel * channels);
    const float *const bias = eec_floats(q, "bias", outs);
    float *const y =
        eec_output_matrix(q, "y", ee_stem_conv_f32_frames(frames, kernel, stride), outs);
    if (q->code == CODE_NONE) {
        ee_stem_conv_f32_c(y, x->data, weight, bias, frames, channels, outs, kernel,
                           stride, kernels(q), NULL);
    }
}

static void run_attention(question *q)
{
    const tensor *const x = eec_input(q);
    const size_t heads = eec_heads(q, x);

    if (heads == 0) {
        return;
    }
    const size_t rows = x->shape[0], dim = x->shape[1];
    size_t in_outs = 3 * dim, out_outs = dim;
    const float *const in_weight = eec_float_weights(q, "in_weight", &in_outs, dim);
    const float *const in_bias = eec_floats(q, "in_bias", in_outs);
    const float *const out_weight = eec_float_weights(q, "out_weight", &out_outs, dim);
    const float *const out_bias = eec_floats(q, "out_bias", out_outs);
    float *const scratch =
        take_floats(q, ee_multi_head_attention_f32_scratch(rows, dim, heads, NULL));
    float *const y = eec_output_matrix(q, "y", rows, dim);
    if (q->code == CODE_NONE) {
        ee_multi_head_attention_f32_c(y, x->data, in_weight, in_bias, out_weight,
                                      out_bias, rows, dim, heads, scratch,
                                      kernels(q), NULL);
    }
}

static void run_feed_forward(question *q)
{
    const tensor *const x = eec_input(q);

    if (x == NULL) {
        return;
    }
    const size_t rows = x->shape[0], dim = x->shape[1];
    size_t ff = 0, outs = dim;
    const float *const norm_weight = eec_floats(q, "norm_weight", dim);
    const float *const norm_bias = eec_floats(q, "norm_bias", dim);
    const float *const up = eec_float_weights(q, "up_weight", &ff, dim);
    const float *const up_bias = eec_floats(q, "up_bias", ff);
    const float *const down = eec_float_weights(q, "down_weight", &outs, ff);
    const float *const down_bias = eec_floats(q, "down_bias", dim);
    const float eps = eec_number(q, "eps");
    float *const scratch = take_floats(q, ee_feed_forward_f32_scratch(rows, dim, ff, NULL));
    float *const y = eec_output_matrix(q, "y", rows, dim);
    if (q->code == CODE_NONE) {
        ee_feed_forward_f32_c(y, x->data, norm_weight, norm_bias, up, up_bias, down,
                              down_bias, rows, dim, ff, eps, scratch, kernels(q), NULL);
    }
}

static void run_conv_module(question *q)
{
    const tensor *const x = eec_input(q);
    size_t kernel = 0;

    if (x == NULL) {
        return;
    }
    const size_t rows = x->shape[0], dim = x->shape[1];
    size_t in_outs = 2 * dim, out_outs = dim;
    const float *const norm_weight = eec_floats(q, "norm_weight", dim);
    const float *const norm_bias = eec_floats(q, "norm_bias", dim);
    const float *const in = eec_float_weights(q, "in_weight", &in_outs, dim);
    const float *const in_bias = eec_floats(q, "in_bias", in_outs);
    const float *const taps = eec_depthwise_weights(q, "depthwise_weight", &kernel, dim);
    const float *const taps_bias = eec_floats(q, "depthwise_bias", dim);
    const float *const out = eec_float_weights(q, "out_weight", &out_outs, dim);
    const float *const out_bias = eec_floats(q, "out_bias", dim);
    const float eps = eec_number(q, "eps");
    float *const scratch = take_floats(q, ee_conv_module_f32_scratch(rows, dim, kernel, NULL));
    float *const y = eec_output_matrix(q, "y", rows, dim);
    if (q->code == CODE_NONE) {
        ee_conv_module_f32_c(y, x->data, norm_weight, norm_bias, in, in_bias, taps,
                             taps_bias, out, out_bias, rows, dim, kernel, eps, scratch,
                             kernels(q), NULL);
    }
}

/* One feed-forward module of a layer: its six tensors. */
typedef struct {
    const float *norm_weight, *norm_bias, *up, *up_bias, *down, *down_bias;
} layer_ff;

static layer_ff take_ff(question *q, const char *const names[6], size_t dim, size_t *ff)
{
    layer_ff m = {0};
    size_t outs = dim;

    m.norm_weight = eec_floats(q, names[0], dim);
    m.norm_bias = eec_floats(q, names[1], dim);
    m.up = eec_float_weights(q, names[2], ff, dim);
    m.up_bias = eec_floats(q, names[3], *ff);
    m.down = eec_float_weights(q, names[4], &outs, *ff);
    m.down_bias = eec_floats(q, names[5], dim);
    return m;
}

static void run_conformer_layer(question *q)
{
    static const char *const FF1[6] = {
        "ff1.norm.weight", "ff1.norm.bias", "ff1.up.weight", "ff1.up.bias", "ff1.down.weight",
        "ff1.down.bias"};
    static const char *const FF2[6] = {
        "ff2.norm.weight", "ff2.norm.bias", "ff2.up.weight", "ff2.up.bias", "ff2.down.weight",
        "ff2.down.bias"};
    const tensor *const x = eec_input(q);
    const size_t heads = eec_heads(q, x);

    if (heads == 0) {
        return;
    }
    const size_t rows = x->shape[0], dim = x->shape[1];
    size_t ff = 0, kernel = 0, triple = 3 * dim, pair = 2 * dim, one = dim;
    ee_conformer_weights_f32 w;
    const layer_ff ff1 = take_ff(q, FF1, dim, &ff);
    const layer_ff ff2 = take_ff(q, FF2, dim, &ff);

    w.ff1_norm_weight = ff1.norm_weight;
    w.ff1_norm_bias = ff1.norm_bias;
    w.ff1_up_weight = ff1.up;
    w.ff1_up_bias = ff1.up_bias;
    w.ff1_down_weight = ff1.down;
    w.ff1_down_bias = ff1.down_bias;
    w.attn_norm_weight = eec_floats(q, "attn.norm.weight", dim);
    w.attn_norm_bias = eec_floats(q, "attn.norm.bias", dim);
    w.attn_in_weight = eec_float_weights(q, "attn.in.weight", &triple, dim);
    w.attn_in_bias = eec_floats(q, "attn.in.bias", 3 * dim);
    w.attn_out_weight = eec_float_weights(q, "attn.out.weight", &one, dim);
    w.attn_out_bias = eec_floats(q, "attn.out.bias", dim);
    w.conv_norm_weight = eec_floats(q, "conv.norm.weight", dim);
    w.conv_norm_bias = eec_floats(q, "conv.norm.bias", dim);
    w.conv_in_weight = eec_float_weights(q, "conv.in.weight", &pair, dim);
    w.conv_in_bias = eec_floats(q, "conv.in.bias", 2 * dim);
    w.conv_depthwise_weight = eec_depthwise_weights(q, "conv.depthwise.weight", &kernel, dim);
    w.conv_depthwise_bias = eec_floats(q, "conv.depthwise.bias", dim);
    w.conv_out_weight = eec_float_weights(q, "conv.out.weight", &one, dim);
    w.conv_out_bias = eec_floats(q, "conv.out.bias", dim);
    w.ff2_norm_weight = ff2.norm_weight;
    w.ff2_norm_bias = ff2.norm_bias;
    w.ff2_up_weight = ff2.up;
    w.ff2_up_bias = ff2.up_bias;
    w.ff2_down_weight = ff2.down;
    w.ff2_down_bias = ff2.down_bias;
    w.norm_weight = eec_floats(q, "norm.weight", dim);
    w.norm_bias = eec_floats(q, "norm.bias", dim);
    const float eps = eec_number(q, "eps");
    float *const scratch =
        take_floats(q, ee_conformer_layer_f32_scratch(rows, dim, heads, ff, kernel, NULL));
    float *const y = eec_output_matrix(q, "y", rows, dim);
    if (q->code == CODE_NONE) {
        ee_conformer_layer_f32_c(y, x->data, &w, rows, dim, heads, ff, kernel, eps,
                                 scratch, kernels(q), NULL);
    }
}

static void run_exit_head(question *q)
{
    const tensor *const x = eec_input(q);
    size_t vocab = 0;

    if (x == NULL) {
        return;
    }
    const size_t rows = x->shape[0], dim = x->shape[1];
    const float *const weight = eec_float_weights(q, "weight", &vocab, dim);
    const float *const bias = eec_floats(q, "bias", vocab);
    float *const y = eec_output_matrix(q, "y", rows, vocab);
    if (q->code == CODE_NONE) {
        ee_exit_head_f32_c(y, x->data, weight, bias, rows, dim, vocab, kernels(q), NULL);
    }
}

const conformance_op eec_ops_f32[] = {
    {"linear", run_linear},
    {"layer_norm", run_layer_norm},
    {"silu", run_silu},
    {"glu", run_glu},
    {"softmax", run_softmax},
    {"log_softmax", run_log_softmax},
    {"depthwise_conv", run_depthwise_conv},
    {"stem_conv", run_stem_conv},
    {"multi_head_attention", run_attention},
    {"feed_forward", run_feed_forward},
    {"conv_module", run_conv_module},
    {"conformer_layer", run_conformer_layer},
    {"exit_head", run_exit_head},
    {NULL, NULL},
};

#else

const conformance_op eec_ops_f32[] = {{NULL, NULL}};

#endif
