/* ee_kernels.h: the float32 ops of early-exit Conformer-CTC models (arXiv:2309.09546).
 *
 * Conventions
 *   Arrays are row-major, time first: x (rows, dim) is `rows` frames of `dim` floats, x[t*dim + d].
 *   A stride is the distance between two rows, in floats. Where no stride is passed, activations
 *   are contiguous, and weight matrices have rows of ee_row_stride(n) floats: n rounded up to a
 *   multiple of 4 (16 bytes), as in the model file. What the padding holds does not matter.
 *   Floats need the alignment of float, nothing more. Every `dim`, `in`, `outs`, `kernel`, `heads`
 *   is at least 1; `rows` may be 0. Arrays do not overlap unless a comment says so.
 *   Kernels check nothing, allocate nothing and keep no state: any number of threads may call them.
 *   Results of the ISA variants differ in rounding only (docs/numerics.md, f32 mode).
 *   NaN and infinity go through as the formulas say, unless a comment says otherwise.
 *
 * Primitives have variants, ee_<op>_f32_<isa>, of one type, ee_<op>_f32, which is also that of
 * their entry in the table of an instruction set: a variant that differs does not compile.
 * Composites are written once over a table of primitives, `ops`, run on a `team`, and take scratch
 * memory from the caller: ee_<op>_f32_scratch() says how many floats for that team, or SIZE_MAX
 * when that does not fit size_t.
 */
#ifndef EE_KERNELS_H
#define EE_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Instruction sets, EE_ISA_C, EE_ISA_AVX2, ... (ee_isas.inc). */
typedef enum {
#define EE_EVERY_ISA
#define EE_ISA(NAME, name, has) EE_ISA_##NAME,
#include "ee_isas.inc"
    EE_ISA_COUNT
} ee_isa;

/* cdef:begin */
enum {
    /* Composites work through the frames in blocks of at most this many, unless their team says
     * otherwise, so that the widest intermediate values need scratch for one block and not for the
     * whole utterance. */
    EE_BLOCK_FRAMES = 48
};

/* ---- Primitives ----------------------------------------------------------------------------- */

/* out[t, o] = sum_i x[t, i] * weight[o, i] + bias[o]
 * x (rows, in), weight (outs, in), bias (outs) or NULL for none, out (rows, outs), each matrix with
 * its own stride. Rows of x may overlap each other (x_stride < in): so a convolution is done.
 * Where the table has ee_pack_linear, a weight_stride of 0 says that weight is what that made. */
typedef void ee_linear_f32(float *out, const float *x, const float *weight, const float *bias,
                           size_t rows, size_t in, size_t outs,
                           size_t out_stride, size_t x_stride, size_t weight_stride);
ee_linear_f32 ee_linear_f32_c;

/* linear_few of a table: linear for a few rows, up to a dozen, as an attention decoder has. It reads
 * weights as they lie, which weight_stride says (never 0), and sums in another order, which is that
 * of one row for any number. */

/* Puts weight (outs, in) in the order in which linear of the same table takes it, once instead of in
 * each call: panels of as many outputs as the table says, each (in, panel), the last one filled up.
 * to: 64-byte aligned, in floats for every output of every panel. */
typedef void ee_pack_linear(float *to, const float *weight, size_t in, size_t outs,
                            size_t weight_stride);

/* out[t, d] = (x[t, d] - mean_t) / sqrt(var_t + eps) * weight[d] + bias[d]
 * mean and biased variance over the row. x, out (rows, dim); weight, bias (dim). out may be x. */
typedef void ee_layer_norm_f32(float *out, const float *x, const float *weight, const float *bias,
                               size_t rows, size_t dim, float eps);
ee_layer_norm_f32 ee_layer_norm_f32_c;

/* out[i] = x[i] / (1 + exp(-x[i])), `count` values. out may be x. */
typedef void ee_silu_f32(float *out, const float *x, size_t count);
ee_silu_f32 ee_silu_f32_c;

/* out[i] = x[i] P(x[i]), P the distribution function of the normal distribution, `count` finite
 * values. out may be x. */
typedef void ee_gelu_f32(float *out, const float *x, size_t count);
ee_gelu_f32 ee_gelu_f32_c;

/* out[t, d] = x[t, d] / (1 + exp(-x[t, dim + d]))
 * x (rows, 2*dim): values, then gates; out (rows, dim). */
typedef void ee_glu_f32(float *out, const float *x, size_t rows, size_t dim);
ee_glu_f32 ee_glu_f32_c;

/* out[t, d] = exp(x[t, d] - max_t) / sum_j exp(x[t, j] - max_t)
 * x, out (rows, dim). Entries of -inf give 0; a row needs one finite entry. out may be x. */
typedef void ee_softmax_f32(float *out, const float *x, size_t rows, size_t dim);
ee_softmax_f32 ee_softmax_f32_c;

/* out[t, d] = x[t, d] - max_t - log(sum_j exp(x[t, j] - max_t))
 * x, out (rows, dim). Entries of -inf stay -inf; a row needs one finite entry. out may be x. */
typedef void ee_log_softmax_f32(float *out, const float *x, size_t rows, size_t dim);
ee_log_softmax_f32 ee_log_softmax_f32_c;

/* out[t, d] = bias[d] + sum_j weight[j, d] * x[before + t + j - (kernel - 1 - ahead), d], frames
 * outside x left out
 * x (before + rows + after, dim): the frames of out, and those around them that there are; out
 * (rows, dim); weight (kernel, dim) with its stride; bias (dim); kernel odd, ahead less. */
typedef void ee_depthwise_conv_f32(float *out, const float *x,
                                   const float *weight, const float *bias,
                                   size_t rows, size_t before, size_t after, size_t dim,
                                   size_t kernel, size_t ahead, size_t weight_stride);
ee_depthwise_conv_f32 ee_depthwise_conv_f32_c;

/* The primitives of one instruction set. Where it has no variant of its own of an op, the entry is
 * the best one of the sets before it. */
typedef struct {
    ee_linear_f32 *linear;
    ee_layer_norm_f32 *layer_norm;
    ee_silu_f32 *silu;
    ee_gelu_f32 *gelu;
    ee_glu_f32 *glu;
    ee_softmax_f32 *softmax;
    ee_log_softmax_f32 *log_softmax;
    ee_depthwise_conv_f32 *depthwise_conv;
    ee_linear_f32 *linear_few; /* or NULL: linear serves as well */
    ee_pack_linear *pack;      /* or NULL */
    size_t panel;              /* outputs of a panel */
    int is_packed;             /* the weights that composites are given are so: ee_model_pack */
} ee_ops_f32;

/* The best instruction set that this CPU has and this library was built with. */
ee_isa ee_isa_best(void);

/* "c", "avx2", ... or NULL for a number that names no instruction set. */
const char *ee_isa_name(ee_isa isa);

/* The instruction set of a name, or EE_ISA_COUNT when this CPU or this build has none such. */
ee_isa ee_isa_find(const char *name);

/* Does the blocks of frames of a composite, and says how long a block is. run calls task(context,
 * item, worker) once for every item of 0..items-1 and returns when all are done and all that they
 * wrote is visible. Items may run at the same time; those with the same worker
 * (0..workers-1) never do. Where a team is asked for, NULL is the calling thread alone, with blocks
 * of EE_BLOCK_FRAMES. Results are the same bytes for every team. */
typedef struct ee_team ee_team;
typedef void (*ee_task)(void *context, size_t item, size_t worker);
struct ee_team {
    size_t workers;      /* 1 or more */
    size_t block_frames; /* most frames of a block, 1 or more */
    void (*run)(const ee_team *team, ee_task task, void *context, size_t items);
};

/* ---- Composites ------------------------------------------------------------------------------
 * Weight matrices have rows of ee_row_stride(n) floats. */

/* What a frame sees of the others. With chunk 0 all frames are one chunk, and nothing is past. */
typedef struct {
    size_t chunk; /* frames of a chunk, the first of which is the first frame that an op is given */
    size_t left;  /* frames before its chunk that a frame sees in attention */
    size_t ahead; /* frames that the depthwise convolution reaches ahead, not past the chunk */
} ee_view;

/* What a layer keeps of the frames before those that it is given, each oldest first. */
typedef struct {
    float *kv;         /* (left, 2*dim): keys and values */
    float *gated;      /* (kernel - 1 - ahead, dim): what the depthwise convolution sees */
    size_t kv_rows;    /* that are there: none where the utterance begins */
    size_t gated_rows;
} ee_layer_past;

/* out[t] = weight @ (x[stride*t], ..., x[stride*t + kernel-1]) + bias, no padding
 * x (frames, channels); weight (outs, kernel*channels), taps outer, channels inner; bias (outs);
 * out (ee_stem_conv_f32_frames(frames, kernel, stride), outs). */
void ee_stem_conv_f32_c(float *out, const float *x, const float *weight, const float *bias,
                        size_t frames, size_t channels, size_t outs, size_t kernel, size_t stride,
                        const ee_ops_f32 *ops, const ee_team *team);
/* (frames - kernel) / stride + 1, or 0 when frames < kernel. */
size_t ee_stem_conv_f32_frames(size_t frames, size_t kernel, size_t stride);

/* out[t, d] = (x[t, d] - mean_d) / sqrt(var_d + eps) * weight[d] + bias[d]
 * mean and biased variance of a channel over all rows. x, out (rows, dim); weight, bias (dim). out
 * may be x. */
void ee_group_norm_f32_c(float *out, const float *x, const float *weight, const float *bias,
                         size_t rows, size_t dim, float eps, const ee_ops_f32 *ops,
                         const ee_team *team);

/* out[t, own] = weight[own] @ (x[t - taps/2, own], ..., x[t - taps/2 + taps-1, own]) + bias[own]
 * for the dim/groups channels `own` of each group, frames outside x being 0.
 * x, out (rows, dim); weight (dim, in), in = taps * dim/groups, taps outer, the channels of the group
 * inner, never packed; bias (dim). dim is a multiple of groups. */
void ee_grouped_conv_f32_c(float *out, const float *x, const float *weight, const float *bias,
                           size_t rows, size_t dim, size_t in, size_t groups, float *scratch,
                           const ee_ops_f32 *ops, const ee_team *team);
size_t ee_grouped_conv_f32_scratch(size_t rows, size_t dim, size_t in, size_t groups,
                                   const ee_team *team);

/* For each head h of width e = dim/heads, with (q, k, v) = in_weight @ x + in_bias:
 *   context_h = softmax(q_h k_h^T / sqrt(e)) v_h;  out = out_weight @ context + out_bias
 * A frame sees its chunk and `left` frames before that, also past ones (ee_view).
 * x, out (rows, dim); in_weight (3*dim, dim), in_bias (3*dim): queries, keys, values, and the heads
 * in order within each; out_weight (dim, dim), out_bias (dim). dim is a multiple of heads.
 * kv (rows, 2*dim): keys and values, or NULL when they are not wanted; past_kv (past, 2*dim): those
 * of the frames before, or NULL with 0. out may be x. */
void ee_multi_head_attention_f32_c(float *out, float *kv, const float *x,
                                   const float *in_weight, const float *in_bias,
                                   const float *out_weight, const float *out_bias,
                                   const float *past_kv, size_t rows, size_t dim, size_t heads,
                                   size_t chunk, size_t left, size_t past,
                                   float *scratch, const ee_ops_f32 *ops, const ee_team *team);
size_t ee_multi_head_attention_f32_scratch(size_t rows, size_t dim, size_t heads, size_t chunk,
                                           size_t left, size_t past, const ee_team *team);

/* As ee_multi_head_attention_f32_c with all frames seen, and to the score of query t for key s in
 * head h is added gate[h, t] * distances[h, s - t + rows - 1], with x_h the columns h of x[t]:
 *   z = gate_weight @ x_h + gate_bias;  u = sigmoid(z0 + .. + z3), r = sigmoid(z4 + .. + z7)
 *   gate[h, t] = u * (r * gate_scale[h] - 1) + 2
 * gate_weight (8, e), gate_bias (8), gate_scale (heads), distances (heads, 2*rows - 1), contiguous.
 * out may be x. */
void ee_gated_attention_f32_c(float *out, const float *x, const float *in_weight,
                              const float *in_bias, const float *out_weight, const float *out_bias,
                              const float *gate_weight, const float *gate_bias,
                              const float *gate_scale, const float *distances, size_t rows,
                              size_t dim, size_t heads, float *scratch, const ee_ops_f32 *ops,
                              const ee_team *team);
size_t ee_gated_attention_f32_scratch(size_t rows, size_t dim, size_t heads, const ee_team *team);

/* out = down_weight @ silu(up_weight @ layer_norm(x) + up_bias) + down_bias
 * x, out (rows, dim); norm_weight, norm_bias, down_bias (dim); up_weight (ff, dim), up_bias (ff);
 * down_weight (dim, ff). No residual. out may be x. */
void ee_feed_forward_f32_c(float *out, const float *x,
                           const float *norm_weight, const float *norm_bias,
                           const float *up_weight, const float *up_bias,
                           const float *down_weight, const float *down_bias,
                           size_t rows, size_t dim, size_t ff, float eps,
                           float *scratch, const ee_ops_f32 *ops, const ee_team *team);
size_t ee_feed_forward_f32_scratch(size_t rows, size_t dim, size_t ff, const ee_team *team);

/* out = out_weight @ silu(depthwise_conv(glu(in_weight @ layer_norm(x) + in_bias))) + out_bias
 * The depthwise convolution sees nothing after the frame's chunk (ee_view).
 * x, out (rows, dim); in_weight (2*dim, dim), in_bias (2*dim); depthwise_weight (kernel, dim),
 * depthwise_bias (dim), batch norm folded in; out_weight (dim, dim), out_bias (dim); kernel odd,
 * ahead less. gated (rows, dim): what the glu gives, or NULL when it is not wanted; past_gated
 * (past, dim): that of the frames before, or NULL with 0. No residual. out may be x. */
void ee_conv_module_f32_c(float *out, float *gated, const float *x,
                          const float *norm_weight, const float *norm_bias,
                          const float *in_weight, const float *in_bias,
                          const float *depthwise_weight, const float *depthwise_bias,
                          const float *out_weight, const float *out_bias,
                          const float *past_gated, size_t rows, size_t dim, size_t kernel,
                          float eps, size_t ahead, size_t chunk, size_t past,
                          float *scratch, const ee_ops_f32 *ops, const ee_team *team);
size_t ee_conv_module_f32_scratch(size_t rows, size_t dim, size_t kernel, size_t ahead,
                                  size_t past, const ee_team *team);

/* The tensors of one Conformer layer, in the order of the model file. Names are those of the file
 * with "." written "_"; shapes are those of the ops above. */
typedef struct {
    const float *ff1_norm_weight, *ff1_norm_bias;
    const float *ff1_up_weight, *ff1_up_bias;
    const float *ff1_down_weight, *ff1_down_bias;
    const float *attn_norm_weight, *attn_norm_bias;
    const float *attn_in_weight, *attn_in_bias;
    const float *attn_out_weight, *attn_out_bias;
    const float *conv_norm_weight, *conv_norm_bias;
    const float *conv_in_weight, *conv_in_bias;
    const float *conv_depthwise_weight, *conv_depthwise_bias;
    const float *conv_out_weight, *conv_out_bias;
    const float *ff2_norm_weight, *ff2_norm_bias;
    const float *ff2_up_weight, *ff2_up_bias;
    const float *ff2_down_weight, *ff2_down_bias;
    const float *norm_weight, *norm_bias;
} ee_conformer_weights_f32;

/* x = x + feed_forward_1(x)/2;  x = x + attention(layer_norm(x));  x = x + conv_module(x);
 * x = x + feed_forward_2(x)/2;  out = layer_norm(x)
 * past: what the last call kept, and on return what the next call needs; NULL for neither. Calls
 * with whole chunks give what one call with all frames gives. Scratch for so many rows suffices
 * with any past, but not always for fewer rows.
 * x, out (rows, dim). out may be x. */
void ee_conformer_layer_f32_c(float *out, const float *x, const ee_conformer_weights_f32 *weights,
                              ee_layer_past *past, const ee_view *view, size_t rows, size_t dim,
                              size_t heads, size_t ff, size_t kernel, float eps, float *scratch,
                              const ee_ops_f32 *ops, const ee_team *team);
size_t ee_conformer_layer_f32_scratch(const ee_view *view, size_t rows, size_t dim, size_t heads,
                                      size_t ff, size_t kernel, const ee_team *team);

/* out = log_softmax(weight @ x + bias)
 * x (rows, dim); weight (vocab, dim), bias (vocab); out (rows, vocab). */
void ee_exit_head_f32_c(float *out, const float *x, const float *weight, const float *bias,
                        size_t rows, size_t dim, size_t vocab, const ee_ops_f32 *ops,
                        const ee_team *team);

/* A bidirectional LSTM. In each direction, from h = c = 0 on, in the order of its frames:
 *   i, f, g, o = in_weight @ x + in_bias + weight @ h
 *   c = sigmoid(f) c + sigmoid(i) tanh(g);  h = sigmoid(o) tanh(c)
 * x (rows, in); in_weight (8*width, in), in_bias (8*width): i, f, g, o of the forward direction,
 * then of the backward one; forward_weight, backward_weight (4*width, width); out (rows, 2*width):
 * h of the forward direction, then of the backward one. The directions run at the same time where
 * the team has two workers. */
void ee_lstm_f32_c(float *out, const float *x, const float *in_weight, const float *in_bias,
                   const float *forward_weight, const float *backward_weight, size_t rows,
                   size_t in, size_t width, float *scratch, const ee_ops_f32 *ops,
                   const ee_team *team);
size_t ee_lstm_f32_scratch(size_t rows, size_t in, size_t width, const ee_team *team);

/* Floats from one row to the next of a weight matrix whose rows hold n: n rounded up to 4. */
size_t ee_row_stride(size_t n);
/* cdef:end */

/* ---- Variants of the primitives ---------------------------------------------------------------
 * One that this build lacks (EE_HAVE_<NAME> of ee_isas.inc) is declared and not defined. */
ee_linear_f32 ee_linear_f32_avx2, ee_linear_f32_avx512, ee_linear_f32_neon;
ee_pack_linear ee_pack_linear_avx2, ee_pack_linear_avx512;
ee_linear_f32 ee_linear_few_avx2, ee_linear_few_avx512;
ee_layer_norm_f32 ee_layer_norm_f32_avx2, ee_layer_norm_f32_avx512, ee_layer_norm_f32_neon;
ee_silu_f32 ee_silu_f32_avx2, ee_silu_f32_avx512, ee_silu_f32_neon;
ee_gelu_f32 ee_gelu_f32_avx2, ee_gelu_f32_avx512, ee_gelu_f32_neon;
ee_glu_f32 ee_glu_f32_avx2, ee_glu_f32_avx512, ee_glu_f32_neon;
ee_softmax_f32 ee_softmax_f32_avx2, ee_softmax_f32_avx512, ee_softmax_f32_neon;
ee_log_softmax_f32 ee_log_softmax_f32_avx2, ee_log_softmax_f32_avx512, ee_log_softmax_f32_neon;
ee_depthwise_conv_f32 ee_depthwise_conv_f32_avx2, ee_depthwise_conv_f32_avx512,
    ee_depthwise_conv_f32_neon;

#ifdef __cplusplus
}
#endif

#endif
