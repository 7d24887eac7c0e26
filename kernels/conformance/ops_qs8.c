/* The ops of int8 mode: arguments by the names of ee_ref/ops, one call of the library each. */
#include <string.h>

#include "conformance.h"

static const ee_ops_qs8 *kernels(const question *q)
{
    return q->port->ops->qs8;
}

/* int8 rows as kernels want them, ee_row_stride_qs8 apart: in place when they lie so. `fill` is
 * what is behind each row. */
static const int8_t *rows_of(question *q, const tensor *matrix, int fill)
{
    if (matrix == NULL) {
        return NULL;
    }
    const size_t rows = matrix->shape[0], columns = matrix->shape[1];
    const size_t stride = ee_row_stride_qs8(columns);
    if (stride == columns) {
        return matrix->data;
    }
    int8_t *const padded = eec_take(q, eec_product(rows, stride));
    for (size_t t = 0; padded != NULL && t < rows; t++) {
        memcpy(padded + t * stride, (const int8_t *)matrix->data + t * columns, columns);
        memset(padded + t * stride + columns, fill, stride - columns);
    }
    return padded;
}

/* The weights called `name`, (outs, in); *outs is found when it is 0. */
static const int8_t *weights(question *q, const char *name, size_t *outs, size_t in)
{
    return rows_of(q, eec_matrix(q, name, 'b', outs, in), WEIGHT_FILL);
}

/* The values of rows of ee_row_stride_qs8 as an output; they have to be zeros behind each row. */
static void output_rows(question *q, const char *name, const int8_t *padded, size_t rows,
                        size_t columns)
{
    const size_t stride = ee_row_stride_qs8(columns);
    int8_t *const out = eec_output(q, name, 'b', rows * columns);

    if (out == NULL) {
        return;
    }
    tensor *const made = &q->outputs[q->output_count - 1];
    made->axes = 2;
    made->shape[0] = rows;
    made->shape[1] = columns;
    for (size_t t = 0; t < rows; t++) {
        memcpy(out + t * columns, padded + t * stride, columns);
        for (size_t i = columns; i < stride; i++) {
            if (padded[t * stride + i] != 0) {
                eec_fail(q, CODE_OVERRUN, "no zeros behind a row", name);
                return;
            }
        }
    }
}

static void output_floats(question *q, const char *name, const float *values, size_t count)
{
    float *const out = eec_output(q, name, 'f', count);

    if (out != NULL) {
        memcpy(out, values, count * sizeof *out);
    }
}

static void run_quantize(question *q)
{
    const tensor *const x = eec_input(q);

    if (x == NULL) {
        return;
    }
    const size_t rows = x->shape[0], in = x->shape[1], stride = ee_row_stride_qs8(in);
    int8_t *const values = eec_take(q, eec_product(rows, stride));
    float *const scale = eec_take(q, rows * sizeof *scale);
    if (q->code != CODE_NONE) {
        return;
    }
    kernels(q)->quantize(values, scale, x->data, rows, in, stride, in);
    output_rows(q, "q", values, rows, in);
    output_floats(q, "scale", scale, rows);
}

static void run_quantize_digits(question *q)
{
    const tensor *const x = eec_input(q);

    if (x == NULL) {
        return;
    }
    const size_t rows = x->shape[0], in = x->shape[1], stride = ee_row_stride_qs8(in);
    int8_t *const high = eec_take(q, eec_product(rows, stride));
    int8_t *const low = eec_take(q, eec_product(rows, stride));
    float *const scale = eec_take(q, rows * sizeof *scale);
    if (q->code != CODE_NONE) {
        return;
    }
    kernels(q)->quantize_digits(high, low, scale, x->data, rows, in, stride, in);
    output_rows(q, "high", high, rows, in);
    output_rows(q, "low", low, rows, in);
    output_floats(q, "scale", scale, rows);
}

static void run_linear(question *q)
{
    const tensor *const given = eec_checked(q, eec_argument(q, "q", 'b', 2));
    size_t outs = 0;

    if (given == NULL) {
        return;
    }
    const size_t rows = given->shape[0], in = given->shape[1], stride = ee_row_stride_qs8(in);
    const int8_t *const values = rows_of(q, given, 0);
    const float *const scale = eec_floats(q, "scale", rows);
    const int8_t *const weight = weights(q, "weight", &outs, in);
    const float *const weight_scale = eec_floats(q, "weight_scale", outs);
    const float *const bias = eec_floats(q, "bias", outs);
    float *const y = eec_output_matrix(q, "y", rows, outs);
    if (q->code == CODE_NONE) {
        kernels(q)->linear(y, values, scale, weight, weight_scale, bias, rows, in, outs, outs,
                           stride, stride);
    }
}

static void run_linear_digits(question *q)
{
    const tensor *const x = eec_input(q);
    size_t outs = 0;

    if (x == NULL) {
        return;
    }
    const size_t rows = x->shape[0], in = x->shape[1];
    const int8_t *const weight = weights(q, "weight", &outs, in);
    const float *const weight_scale = eec_floats(q, "weight_scale", outs);
    const float *const bias = eec_floats(q, "bias", outs);
    void *const scratch = eec_take(q, ee_linear_digits_qs8_scratch(rows, in, outs, NULL));
    float *const y = eec_output_matrix(q, "y", rows, outs);
    if (q->code == CODE_NONE) {
        ee_linear_digits_qs8_c(y, x->data, weight, weight_scale, bias, rows, in, outs, in, scratch,
                               kernels(q), NULL);
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
    const size_t rows = x->shape[0], dim = x->shape[1], stride = ee_row_stride_qs8(dim);
    const float *const value_scale = eec_floats(q, "value_scale", dim);
    float *const scores = eec_take(q, eec_product(rows, dim * sizeof *scores));
    int8_t *const high = eec_take(q, eec_product(rows, stride));
    int8_t *const low = eec_take(q, eec_product(rows, stride));
    float *const scale = eec_take(q, rows * sizeof *scale);
    if (q->code != CODE_NONE) {
        return;
    }
    memcpy(scores, x->data, rows * dim * sizeof *scores);
    kernels(q)->softmax(high, low, scale, scores, value_scale, rows, dim, stride);
    output_rows(q, "high", high, rows, dim);
    output_rows(q, "low", low, rows, dim);
    output_floats(q, "scale", scale, rows);
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
    const tensor *const matrix = eec_argument(q, "weight", 'b', 2);
    const size_t stride = eec_stride(q);

    if (q->code != CODE_NONE) {
        return;
    }
    const size_t frames = x->shape[0], channels = x->shape[1];
    const size_t kernel = matrix->shape[1] / channels;
    size_t outs = 0;
    const int8_t *const weight = weights(q, "weight", &outs, kernel * channels);
    const float *const weight_scale = eec_floats(q, "weight_scale", outs);
    const float *const bias = eec_floats(q, "bias", outs);
    void *const scratch =
        eec_take(q, ee_stem_conv_qs8_scratch(frames, channels, outs, kernel, stride, NULL));
    float *const y =
        eec_output_matrix(q, "y", ee_stem_conv_f32_frames(frames, kernel, stride), outs);
    if (q->code == CODE_NONE) {
        ee_stem_conv_qs8_c(y, x->data, weight, weight_scale, bias, frames, channels, outs, kernel,
                           stride, scratch, kernels(q), NULL);
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
    const int8_t *const in_weight = weights(q, "in_weight", &in_outs, dim);
    const float *const in_scale = eec_floats(q, "in_weight_scale", in_outs);
    const float *const in_bias = eec_floats(q, "in_bias", in_outs);
    const int8_t *const out_weight = weights(q, "out_weight", &out_outs, dim);
    const float *const out_scale = eec_floats(q, "out_weight_scale", out_outs);
    const float *const out_bias = eec_floats(q, "out_bias", out_outs);
    void *const scratch =
        eec_take(q, ee_multi_head_attention_qs8_scratch(rows, dim, heads, NULL));
    float *const y = eec_output_matrix(q, "y", rows, dim);
    if (q->code == CODE_NONE) {
        ee_multi_head_attention_qs8_c(y, x->data, in_weight, in_scale, in_bias, out_weight,
                                      out_scale, out_bias, rows, dim, heads, scratch,
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
    const int8_t *const up = weights(q, "up_weight", &ff, dim);
    const float *const up_scale = eec_floats(q, "up_weight_scale", ff);
    const float *const up_bias = eec_floats(q, "up_bias", ff);
    const int8_t *const down = weights(q, "down_weight", &outs, ff);
    const float *const down_scale = eec_floats(q, "down_weight_scale", dim);
    const float *const down_bias = eec_floats(q, "down_bias", dim);
    const float eps = eec_number(q, "eps");
    void *const scratch = eec_take(q, ee_feed_forward_qs8_scratch(rows, dim, ff, NULL));
    float *const y = eec_output_matrix(q, "y", rows, dim);
    if (q->code == CODE_NONE) {
        ee_feed_forward_qs8_c(y, x->data, norm_weight, norm_bias, up, up_scale, up_bias, down,
                              down_scale, down_bias, rows, dim, ff, eps, scratch, kernels(q), NULL);
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
    const int8_t *const in = weights(q, "in_weight", &in_outs, dim);
    const float *const in_scale = eec_floats(q, "in_weight_scale", in_outs);
    const float *const in_bias = eec_floats(q, "in_bias", in_outs);
    const float *const taps = eec_depthwise_weights(q, "depthwise_weight", &kernel, dim);
    const float *const taps_bias = eec_floats(q, "depthwise_bias", dim);
    const int8_t *const out = weights(q, "out_weight", &out_outs, dim);
    const float *const out_scale = eec_floats(q, "out_weight_scale", dim);
    const float *const out_bias = eec_floats(q, "out_bias", dim);
    const float eps = eec_number(q, "eps");
    void *const scratch = eec_take(q, ee_conv_module_qs8_scratch(rows, dim, kernel, NULL));
    float *const y = eec_output_matrix(q, "y", rows, dim);
    if (q->code == CODE_NONE) {
        ee_conv_module_qs8_c(y, x->data, norm_weight, norm_bias, in, in_scale, in_bias, taps,
                             taps_bias, out, out_scale, out_bias, rows, dim, kernel, eps, scratch,
                             kernels(q), NULL);
    }
}

/* One feed-forward module of a layer: its eight tensors. */
typedef struct {
    const float *norm_weight, *norm_bias;
    const int8_t *up;
    const float *up_scale, *up_bias;
    const int8_t *down;
    const float *down_scale, *down_bias;
} layer_ff;

static layer_ff take_ff(question *q, const char *const names[8], size_t dim, size_t *ff)
{
    layer_ff m = {0};
    size_t outs = dim;

    m.norm_weight = eec_floats(q, names[0], dim);
    m.norm_bias = eec_floats(q, names[1], dim);
    m.up = weights(q, names[2], ff, dim);
    m.up_scale = eec_floats(q, names[3], *ff);
    m.up_bias = eec_floats(q, names[4], *ff);
    m.down = weights(q, names[5], &outs, *ff);
    m.down_scale = eec_floats(q, names[6], dim);
    m.down_bias = eec_floats(q, names[7], dim);
    return m;
}

static void run_conformer_layer(question *q)
{
    static const char *const FF1[8] = {
        "ff1.norm.weight", "ff1.norm.bias", "ff1.up.weight", "ff1.up.weight_scale", "ff1.up.bias",
        "ff1.down.weight", "ff1.down.weight_scale", "ff1.down.bias"};
    static const char *const FF2[8] = {
        "ff2.norm.weight", "ff2.norm.bias", "ff2.up.weight", "ff2.up.weight_scale", "ff2.up.bias",
        "ff2.down.weight", "ff2.down.weight_scale", "ff2.down.bias"};
    const tensor *const x = eec_input(q);
    const size_t heads = eec_heads(q, x);

    if (heads == 0) {
        return;
    }
    const size_t rows = x->shape[0], dim = x->shape[1];
    size_t ff = 0, kernel = 0, triple = 3 * dim, pair = 2 * dim, one = dim;
    ee_conformer_weights_qs8 w;
    const layer_ff ff1 = take_ff(q, FF1, dim, &ff);
    const layer_ff ff2 = take_ff(q, FF2, dim, &ff);

    w.ff1_norm_weight = ff1.norm_weight;
    w.ff1_norm_bias = ff1.norm_bias;
    w.ff1_up_weight = ff1.up;
    w.ff1_up_weight_scale = ff1.up_scale;
    w.ff1_up_bias = ff1.up_bias;
    w.ff1_down_weight = ff1.down;
    w.ff1_down_weight_scale = ff1.down_scale;
    w.ff1_down_bias = ff1.down_bias;
    w.attn_norm_weight = eec_floats(q, "attn.norm.weight", dim);
    w.attn_norm_bias = eec_floats(q, "attn.norm.bias", dim);
    w.attn_in_weight = weights(q, "attn.in.weight", &triple, dim);
    w.attn_in_weight_scale = eec_floats(q, "attn.in.weight_scale", 3 * dim);
    w.attn_in_bias = eec_floats(q, "attn.in.bias", 3 * dim);
    w.attn_out_weight = weights(q, "attn.out.weight", &one, dim);
    w.attn_out_weight_scale = eec_floats(q, "attn.out.weight_scale", dim);
    w.attn_out_bias = eec_floats(q, "attn.out.bias", dim);
    w.conv_norm_weight = eec_floats(q, "conv.norm.weight", dim);
    w.conv_norm_bias = eec_floats(q, "conv.norm.bias", dim);
    w.conv_in_weight = weights(q, "conv.in.weight", &pair, dim);
    w.conv_in_weight_scale = eec_floats(q, "conv.in.weight_scale", 2 * dim);
    w.conv_in_bias = eec_floats(q, "conv.in.bias", 2 * dim);
    w.conv_depthwise_weight = eec_depthwise_weights(q, "conv.depthwise.weight", &kernel, dim);
    w.conv_depthwise_bias = eec_floats(q, "conv.depthwise.bias", dim);
    w.conv_out_weight = weights(q, "conv.out.weight", &one, dim);
    w.conv_out_weight_scale = eec_floats(q, "conv.out.weight_scale", dim);
    w.conv_out_bias = eec_floats(q, "conv.out.bias", dim);
    w.ff2_norm_weight = ff2.norm_weight;
    w.ff2_norm_bias = ff2.norm_bias;
    w.ff2_up_weight = ff2.up;
    w.ff2_up_weight_scale = ff2.up_scale;
    w.ff2_up_bias = ff2.up_bias;
    w.ff2_down_weight = ff2.down;
    w.ff2_down_weight_scale = ff2.down_scale;
    w.ff2_down_bias = ff2.down_bias;
    w.norm_weight = eec_floats(q, "norm.weight", dim);
    w.norm_bias = eec_floats(q, "norm.bias", dim);
    const float eps = eec_number(q, "eps");
    void *const scratch =
        eec_take(q, ee_conformer_layer_qs8_scratch(rows, dim, heads, ff, kernel, NULL));
    float *const y = eec_output_matrix(q, "y", rows, dim);
    if (q->code == CODE_NONE) {
        ee_conformer_layer_qs8_c(y, x->data, &w, rows, dim, heads, ff, kernel, eps,
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
    const int8_t *const weight = weights(q, "weight", &vocab, dim);
    const float *const weight_scale = eec_floats(q, "weight_scale", vocab);
    const float *const bias = eec_floats(q, "bias", vocab);
    void *const scratch = eec_take(q, ee_exit_head_qs8_scratch(rows, dim, vocab, NULL));
    float *const y = eec_output_matrix(q, "y", rows, vocab);
    if (q->code == CODE_NONE) {
        ee_exit_head_qs8_c(y, x->data, weight, weight_scale, bias, rows, dim, vocab, scratch,
                           kernels(q), NULL);
    }
}

const conformance_op eec_ops_qs8[] = {
    {"quantize_qs8", run_quantize},
    {"quantize_digits_qs8", run_quantize_digits},
    {"linear_qs8", run_linear},
    {"linear_digits_qs8", run_linear_digits},
    {"layer_norm_qs8", run_layer_norm},
    {"silu_qs8", run_silu},
    {"glu_qs8", run_glu},
    {"softmax_qs8", run_softmax},
    {"log_softmax_qs8", run_log_softmax},
    {"depthwise_conv_qs8", run_depthwise_conv},
    {"stem_conv_qs8", run_stem_conv},
    {"multi_head_attention_qs8", run_attention},
    {"feed_forward_qs8", run_feed_forward},
    {"conv_module_qs8", run_conv_module},
    {"conformer_layer_qs8", run_conformer_layer},
    {"exit_head_qs8", run_exit_head},
    {NULL, NULL},
};
