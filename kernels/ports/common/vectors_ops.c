/* The ops of the golden vectors that are kernels: arguments out of arrays, one call of the library.
 * A case holds the arguments of the NumPy function of the same name (ee_ref/ops), in its order, a
 * mapping of weights one after another. Numbers are arrays of one value. */
#include <string.h>

#include "vectors.h"

enum { GARBAGE = 0x55 };

/* The kernels in use, and those below a kernel that is made wrong. */
static ee_ops_qs8 kernels;
static ee_ops ops = {NULL, &kernels};
static const ee_ops_qs8 *right;

const ee_ops *vectors_kernels(void)
{
    return &ops;
}

/* ---- Kernels with the lowest bit of their last value wrong ----------------------------------- */

static void flip(float *values, size_t count)
{
    uint32_t bits;

    if (count > 0) {
        memcpy(&bits, &values[count - 1], sizeof bits);
        bits ^= 1u;
        memcpy(&values[count - 1], &bits, sizeof bits);
    }
}

static void wrong_quantize(int8_t *q, float *scale, const float *x, size_t rows, size_t in,
                           size_t q_stride, size_t x_stride)
{
    right->quantize(q, scale, x, rows, in, q_stride, x_stride);
    if (rows > 0) {
        q[(rows - 1) * q_stride + in - 1] ^= 1;
    }
}

static void wrong_linear(float *out, const int8_t *q, const float *scale, const int8_t *weight,
                         const float *weight_scale, const float *bias, size_t rows, size_t in,
                         size_t outs, size_t out_stride, size_t q_stride, size_t weight_stride)
{
    right->linear(out, q, scale, weight, weight_scale, bias, rows, in, outs, out_stride, q_stride,
                  weight_stride);
    if (rows > 0) {
        flip(out + (rows - 1) * out_stride, outs);
    }
}

static void wrong_layer_norm(float *out, const float *x, const float *weight, const float *bias,
                             size_t rows, size_t dim, float eps)
{
    right->layer_norm(out, x, weight, bias, rows, dim, eps);
    flip(out, rows * dim);
}

static void wrong_silu(float *out, const float *x, size_t count)
{
    right->silu(out, x, count);
    flip(out, count);
}

static void wrong_glu(float *out, const float *x, size_t rows, size_t dim)
{
    right->glu(out, x, rows, dim);
    flip(out, rows * dim);
}

static void wrong_softmax(int8_t *high, int8_t *low, float *scale, float *x,
                          const float *value_scale, size_t rows, size_t dim, size_t q_stride)
{
    right->softmax(high, low, scale, x, value_scale, rows, dim, q_stride);
    flip(scale, rows);
}

static void wrong_log_softmax(float *out, const float *x, size_t rows, size_t dim)
{
    right->log_softmax(out, x, rows, dim);
    flip(out, rows * dim);
}

static void wrong_depthwise_conv(float *out, const float *x, const float *weight,
                                 const float *bias, size_t frames, size_t first, size_t count,
                                 size_t dim, size_t kernel, size_t weight_stride)
{
    right->depthwise_conv(out, x, weight, bias, frames, first, count, dim, kernel, weight_stride);
    flip(out + first * dim, count * dim);
}

static void wrong_stem_conv(float *out, const float *x, const int8_t *weight,
                            const float *weight_scale, const float *bias, size_t frames,
                            size_t channels, size_t outs, size_t kernel, size_t stride)
{
    right->stem_conv(out, x, weight, weight_scale, bias, frames, channels, outs, kernel, stride);
    flip(out, ee_stem_conv_f32_frames(frames, kernel, stride) * outs);
}

static void plant(const char *fault)
{
    if (runner_equal(fault, "quantize_qs8")) {
        kernels.quantize = wrong_quantize;
    } else if (runner_equal(fault, "linear_qs8")) {
        kernels.linear = wrong_linear;
    } else if (runner_equal(fault, "layer_norm_qs8")) {
        kernels.layer_norm = wrong_layer_norm;
    } else if (runner_equal(fault, "silu_qs8")) {
        kernels.silu = wrong_silu;
    } else if (runner_equal(fault, "glu_qs8")) {
        kernels.glu = wrong_glu;
    } else if (runner_equal(fault, "softmax_qs8")) {
        kernels.softmax = wrong_softmax;
    } else if (runner_equal(fault, "log_softmax_qs8")) {
        kernels.log_softmax = wrong_log_softmax;
    } else if (runner_equal(fault, "depthwise_conv_qs8")) {
        kernels.depthwise_conv = wrong_depthwise_conv;
    } else if (runner_equal(fault, "stem_conv_qs8")) {
        kernels.stem_conv = wrong_stem_conv;
    } else {
        runner_fail(fault, "no kernel of that name");
    }
}

/* The instruction set of a name, or the best one. Those that this library was built without have no
 * ops. */
static ee_isa find_isa(const char *name)
{
    const ee_isa best = ee_isa_best();

    if (name == NULL) {
        return best;
    }
    for (int isa = 0; isa <= (int)best; isa++) {
        if (ee_ops_for((ee_isa)isa) != NULL && runner_equal(ee_isa_name((ee_isa)isa), name)) {
            return (ee_isa)isa;
        }
    }
    runner_fail(name, "no instruction set of this CPU");
}

void vectors_setup(const char *isa, const char *fault)
{
    const ee_ops *const chosen = ee_ops_for(find_isa(isa));

    right = chosen->qs8;
    kernels = *chosen->qs8;
    ops.f32 = chosen->f32;
    if (fault != NULL) {
        plant(fault);
    }
}

/* ---- Arguments ------------------------------------------------------------------------------- */

/* The arguments of a case, one after another. */
typedef struct {
    vectors_case *run;
    size_t next;
} reader;

static const vectors_array *take(reader *arguments)
{
    return &arguments->run->inputs[arguments->next++];
}

static const float *take_floats(reader *arguments)
{
    return take(arguments)->data;
}

static float take_float(reader *arguments)
{
    return *take_floats(arguments);
}

static size_t take_count(reader *arguments)
{
    return (size_t)*(const int32_t *)take(arguments)->data;
}

/* int8 weights, in rows of ee_row_stride_qs8. */
static const int8_t *take_weight(reader *arguments, size_t *outs)
{
    const vectors_array *const matrix = take(arguments);

    if (outs != NULL) {
        *outs = matrix->rows;
    }
    return matrix->data;
}

/* Float weights, in rows of ee_row_stride. */
static const float *take_depthwise(reader *arguments, size_t *kernel)
{
    const vectors_array *const matrix = take(arguments);

    *kernel = matrix->rows;
    return matrix->data;
}

static void *scratch(vectors_case *run, size_t bytes)
{
    void *const memory = vectors_take(run, bytes);

    memset(memory, GARBAGE, bytes);
    return memory;
}

static float *output(vectors_case *run, size_t rows, size_t columns)
{
    return vectors_output(run, 'f', rows, columns);
}

/* ---- Ops ------------------------------------------------------------------------------------- */

static int32_t linear_qs8(vectors_case *run)
{
    reader arguments = {run, 0};
    size_t outs;
    const vectors_array *const q = take(&arguments);
    const size_t stride = ee_row_stride_qs8(q->columns);
    const float *const scale = take_floats(&arguments);
    const int8_t *const weight = take_weight(&arguments, &outs);
    const float *const weight_scale = take_floats(&arguments);
    const float *const bias = take_floats(&arguments);

    kernels.linear(output(run, q->rows, outs), q->data, scale, weight, weight_scale, bias, q->rows,
                   q->columns, outs, outs, stride, stride);
    return EE_OK;
}

static int32_t layer_norm_qs8(vectors_case *run)
{
    reader arguments = {run, 0};
    const vectors_array *const x = take(&arguments);
    const float *const weight = take_floats(&arguments);
    const float *const bias = take_floats(&arguments);

    kernels.layer_norm(output(run, x->rows, x->columns), x->data, weight, bias, x->rows,
                       x->columns, take_float(&arguments));
    return EE_OK;
}

static int32_t silu_qs8(vectors_case *run)
{
    const vectors_array *const x = &run->inputs[0];

    kernels.silu(output(run, x->rows, x->columns), x->data, x->rows * x->columns);
    return EE_OK;
}

static int32_t glu_qs8(vectors_case *run)
{
    const vectors_array *const x = &run->inputs[0];

    kernels.glu(output(run, x->rows, x->columns / 2), x->data, x->rows, x->columns / 2);
    return EE_OK;
}

/* The values of rows of ee_row_stride_qs8 as an output; 0 unless zeros lie behind each row. */
static int output_rows(vectors_case *run, const int8_t *padded, size_t rows, size_t columns)
{
    const size_t stride = ee_row_stride_qs8(columns);
    int8_t *const out = vectors_output(run, 'b', rows, columns);

    for (size_t t = 0; t < rows; t++) {
        memcpy(out + t * columns, padded + t * stride, columns);
        for (size_t i = columns; i < stride; i++) {
            if (padded[t * stride + i] != 0) {
                return 0;
            }
        }
    }
    return 1;
}

static int32_t quantize_qs8(vectors_case *run)
{
    const vectors_array *const x = &run->inputs[0];
    const size_t stride = ee_row_stride_qs8(x->columns);
    int8_t *const q = scratch(run, x->rows * stride);
    float *const scale = scratch(run, x->rows * sizeof *scale);

    kernels.quantize(q, scale, x->data, x->rows, x->columns, stride, x->columns);
    const int clean = output_rows(run, q, x->rows, x->columns);
    memcpy(output(run, 1, x->rows), scale, x->rows * sizeof *scale);
    return clean ? EE_OK : VECTORS_OVERRUN;
}

static int32_t softmax_qs8(vectors_case *run)
{
    const vectors_array *const x = &run->inputs[0];
    const size_t stride = ee_row_stride_qs8(x->columns);
    int8_t *const high = scratch(run, x->rows * stride);
    int8_t *const low = scratch(run, x->rows * stride);
    float *const scale = scratch(run, x->rows * sizeof *scale);
    float *const scores = scratch(run, x->rows * x->columns * sizeof *scores);

    memcpy(scores, x->data, x->rows * x->columns * sizeof *scores);
    kernels.softmax(high, low, scale, scores, run->inputs[1].data, x->rows, x->columns, stride);
    const int clean = output_rows(run, high, x->rows, x->columns)
                      & output_rows(run, low, x->rows, x->columns);
    memcpy(output(run, 1, x->rows), scale, x->rows * sizeof *scale);
    return clean ? EE_OK : VECTORS_OVERRUN;
}

static int32_t log_softmax_qs8(vectors_case *run)
{
    const vectors_array *const x = &run->inputs[0];

    kernels.log_softmax(output(run, x->rows, x->columns), x->data, x->rows, x->columns);
    return EE_OK;
}

static int32_t depthwise_conv_qs8(vectors_case *run)
{
    reader arguments = {run, 0};
    size_t kernel;
    const vectors_array *const x = take(&arguments);
    const float *const weight = take_depthwise(&arguments, &kernel);

    kernels.depthwise_conv(output(run, x->rows, x->columns), x->data, weight,
                           take_floats(&arguments), x->rows, 0, x->rows, x->columns, kernel,
                           ee_row_stride(x->columns));
    return EE_OK;
}

static int32_t stem_conv_qs8(vectors_case *run)
{
    reader arguments = {run, 0};
    size_t outs;
    const vectors_array *const x = take(&arguments);
    const size_t kernel = run->inputs[arguments.next].columns / x->columns;
    const int8_t *const weight = take_weight(&arguments, &outs);
    const float *const weight_scale = take_floats(&arguments);
    const float *const bias = take_floats(&arguments);
    const size_t stride = take_count(&arguments);
    const size_t frames = ee_stem_conv_f32_frames(x->rows, kernel, stride);

    kernels.stem_conv(output(run, frames, outs), x->data, weight, weight_scale, bias, x->rows,
                      x->columns, outs, kernel, stride);
    return EE_OK;
}

static int32_t multi_head_attention_qs8(vectors_case *run)
{
    reader arguments = {run, 0};
    const vectors_array *const x = take(&arguments);
    const int8_t *const in_weight = take_weight(&arguments, NULL);
    const float *const in_weight_scale = take_floats(&arguments);
    const float *const in_bias = take_floats(&arguments);
    const int8_t *const out_weight = take_weight(&arguments, NULL);
    const float *const out_weight_scale = take_floats(&arguments);
    const float *const out_bias = take_floats(&arguments);
    const size_t heads = take_count(&arguments);

    ee_multi_head_attention_qs8_c(
        output(run, x->rows, x->columns), x->data, in_weight, in_weight_scale, in_bias, out_weight,
        out_weight_scale, out_bias, x->rows, x->columns, heads,
        scratch(run, ee_multi_head_attention_qs8_scratch(x->rows, x->columns, heads, NULL)),
        &kernels, NULL);
    return EE_OK;
}

static int32_t feed_forward_qs8(vectors_case *run)
{
    reader arguments = {run, 0};
    size_t ff;
    const vectors_array *const x = take(&arguments);
    const float *const norm_weight = take_floats(&arguments);
    const float *const norm_bias = take_floats(&arguments);
    const int8_t *const up_weight = take_weight(&arguments, &ff);
    const float *const up_weight_scale = take_floats(&arguments);
    const float *const up_bias = take_floats(&arguments);
    const int8_t *const down_weight = take_weight(&arguments, NULL);
    const float *const down_weight_scale = take_floats(&arguments);
    const float *const down_bias = take_floats(&arguments);

    ee_feed_forward_qs8_c(
        output(run, x->rows, x->columns), x->data, norm_weight, norm_bias, up_weight,
        up_weight_scale, up_bias, down_weight, down_weight_scale, down_bias, x->rows, x->columns,
        ff, take_float(&arguments),
        scratch(run, ee_feed_forward_qs8_scratch(x->rows, x->columns, ff, NULL)), &kernels, NULL);
    return EE_OK;
}

static int32_t conv_module_qs8(vectors_case *run)
{
    reader arguments = {run, 0};
    size_t kernel;
    const vectors_array *const x = take(&arguments);
    const float *const norm_weight = take_floats(&arguments);
    const float *const norm_bias = take_floats(&arguments);
    const int8_t *const in_weight = take_weight(&arguments, NULL);
    const float *const in_weight_scale = take_floats(&arguments);
    const float *const in_bias = take_floats(&arguments);
    const float *const depthwise_weight = take_depthwise(&arguments, &kernel);
    const float *const depthwise_bias = take_floats(&arguments);
    const int8_t *const out_weight = take_weight(&arguments, NULL);
    const float *const out_weight_scale = take_floats(&arguments);
    const float *const out_bias = take_floats(&arguments);

    ee_conv_module_qs8_c(
        output(run, x->rows, x->columns), x->data, norm_weight, norm_bias, in_weight,
        in_weight_scale, in_bias, depthwise_weight, depthwise_bias, out_weight, out_weight_scale,
        out_bias, x->rows, x->columns, kernel, take_float(&arguments),
        scratch(run, ee_conv_module_qs8_scratch(x->rows, x->columns, kernel, NULL)), &kernels,
        NULL);
    return EE_OK;
}

static int32_t conformer_layer_qs8(vectors_case *run)
{
    reader arguments = {run, 0};
    ee_conformer_weights_qs8 w;
    size_t ff, kernel;
    const vectors_array *const x = take(&arguments);

    w.ff1_norm_weight = take_floats(&arguments);
    w.ff1_norm_bias = take_floats(&arguments);
    w.ff1_up_weight = take_weight(&arguments, &ff);
    w.ff1_up_weight_scale = take_floats(&arguments);
    w.ff1_up_bias = take_floats(&arguments);
    w.ff1_down_weight = take_weight(&arguments, NULL);
    w.ff1_down_weight_scale = take_floats(&arguments);
    w.ff1_down_bias = take_floats(&arguments);
    w.attn_norm_weight = take_floats(&arguments);
    w.attn_norm_bias = take_floats(&arguments);
    w.attn_in_weight = take_weight(&arguments, NULL);
    w.attn_in_weight_scale = take_floats(&arguments);
    w.attn_in_bias = take_floats(&arguments);
    w.attn_out_weight = take_weight(&arguments, NULL);
    w.attn_out_weight_scale = take_floats(&arguments);
    w.attn_out_bias = take_floats(&arguments);
    w.conv_norm_weight = take_floats(&arguments);
    w.conv_norm_bias = take_floats(&arguments);
    w.conv_in_weight = take_weight(&arguments, NULL);
    w.conv_in_weight_scale = take_floats(&arguments);
    w.conv_in_bias = take_floats(&arguments);
    w.conv_depthwise_weight = take_depthwise(&arguments, &kernel);
    w.conv_depthwise_bias = take_floats(&arguments);
    w.conv_out_weight = take_weight(&arguments, NULL);
    w.conv_out_weight_scale = take_floats(&arguments);
    w.conv_out_bias = take_floats(&arguments);
    w.ff2_norm_weight = take_floats(&arguments);
    w.ff2_norm_bias = take_floats(&arguments);
    w.ff2_up_weight = take_weight(&arguments, NULL);
    w.ff2_up_weight_scale = take_floats(&arguments);
    w.ff2_up_bias = take_floats(&arguments);
    w.ff2_down_weight = take_weight(&arguments, NULL);
    w.ff2_down_weight_scale = take_floats(&arguments);
    w.ff2_down_bias = take_floats(&arguments);
    w.norm_weight = take_floats(&arguments);
    w.norm_bias = take_floats(&arguments);
    const size_t heads = take_count(&arguments);

    ee_conformer_layer_qs8_c(
        output(run, x->rows, x->columns), x->data, &w, x->rows, x->columns, heads, ff, kernel,
        take_float(&arguments),
        scratch(run, ee_conformer_layer_qs8_scratch(x->rows, x->columns, heads, ff, kernel, NULL)),
        &kernels, NULL);
    return EE_OK;
}

static int32_t exit_head_qs8(vectors_case *run)
{
    reader arguments = {run, 0};
    size_t vocab;
    const vectors_array *const x = take(&arguments);
    const int8_t *const weight = take_weight(&arguments, &vocab);
    const float *const weight_scale = take_floats(&arguments);

    ee_exit_head_qs8_c(output(run, x->rows, vocab), x->data, weight, weight_scale,
                       take_floats(&arguments), x->rows, x->columns, vocab, &kernels, NULL);
    return EE_OK;
}

#ifndef EE_NO_F32
/* ---- Primitives of float32 mode, for the host to judge by tolerance -------------------------- */

static int32_t linear(vectors_case *run)
{
    reader arguments = {run, 0};
    const vectors_array *const x = take(&arguments);
    const vectors_array *const weight = take(&arguments);
    const vectors_array *const bias = take(&arguments); /* of no columns: none */

    ops.f32->linear(output(run, x->rows, weight->rows), x->data, weight->data,
                    bias->columns > 0 ? bias->data : NULL, x->rows, x->columns, weight->rows,
                    weight->rows, x->columns, ee_row_stride(x->columns));
    return EE_OK;
}

static int32_t layer_norm(vectors_case *run)
{
    reader arguments = {run, 0};
    const vectors_array *const x = take(&arguments);
    const float *const weight = take_floats(&arguments);
    const float *const bias = take_floats(&arguments);

    ops.f32->layer_norm(output(run, x->rows, x->columns), x->data, weight, bias, x->rows,
                        x->columns, take_float(&arguments));
    return EE_OK;
}

static int32_t silu(vectors_case *run)
{
    const vectors_array *const x = &run->inputs[0];

    ops.f32->silu(output(run, x->rows, x->columns), x->data, x->rows * x->columns);
    return EE_OK;
}

static int32_t glu(vectors_case *run)
{
    const vectors_array *const x = &run->inputs[0];

    ops.f32->glu(output(run, x->rows, x->columns / 2), x->data, x->rows, x->columns / 2);
    return EE_OK;
}

static int32_t softmax(vectors_case *run)
{
    const vectors_array *const x = &run->inputs[0];

    ops.f32->softmax(output(run, x->rows, x->columns), x->data, x->rows, x->columns);
    return EE_OK;
}

static int32_t log_softmax(vectors_case *run)
{
    const vectors_array *const x = &run->inputs[0];

    ops.f32->log_softmax(output(run, x->rows, x->columns), x->data, x->rows, x->columns);
    return EE_OK;
}

static int32_t depthwise_conv(vectors_case *run)
{
    reader arguments = {run, 0};
    size_t kernel;
    const vectors_array *const x = take(&arguments);
    const float *const weight = take_depthwise(&arguments, &kernel);

    ops.f32->depthwise_conv(output(run, x->rows, x->columns), x->data, weight,
                            take_floats(&arguments), x->rows, 0, x->rows, x->columns, kernel,
                            ee_row_stride(x->columns));
    return EE_OK;
}
#endif

const vectors_op VECTORS_OPS[] = {
#ifndef EE_NO_F32
    {"linear", linear},
    {"layer_norm", layer_norm},
    {"silu", silu},
    {"glu", glu},
    {"softmax", softmax},
    {"log_softmax", log_softmax},
    {"depthwise_conv", depthwise_conv},
#endif
    {"quantize_qs8", quantize_qs8},
    {"linear_qs8", linear_qs8},
    {"layer_norm_qs8", layer_norm_qs8},
    {"silu_qs8", silu_qs8},
    {"glu_qs8", glu_qs8},
    {"softmax_qs8", softmax_qs8},
    {"log_softmax_qs8", log_softmax_qs8},
    {"depthwise_conv_qs8", depthwise_conv_qs8},
    {"stem_conv_qs8", stem_conv_qs8},
    {"multi_head_attention_qs8", multi_head_attention_qs8},
    {"feed_forward_qs8", feed_forward_qs8},
    {"conv_module_qs8", conv_module_qs8},
    {"conformer_layer_qs8", conformer_layer_qs8},
    {"exit_head_qs8", exit_head_qs8},
    {"image", vectors_image},
    {"features", vectors_features},
    {"exits", vectors_exits},
    {"utterance", vectors_utterance},
    {NULL, NULL},
};
