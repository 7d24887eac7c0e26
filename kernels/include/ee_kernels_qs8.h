/* ee_kernels_qs8.h: the ops of int8 mode, whose results are the same bytes on every target.
 *
 * docs/numerics.md, "int8 mode", is the contract of every value: operations, order, rounding. The
 * conventions of ee_kernels.h hold, and these:
 *
 *   Names end in _qs8 where an op takes or gives int8, and in _exact where it has floats alone.
 *   Rows of int8 are ee_row_stride_qs8(n) bytes or more apart, a multiple of 16, and begin at a
 *   multiple of 16. Kernels read them in whole groups of 16. Behind the n values of a row of
 *   activations the group is filled with zeros, as quantize and softmax do; what the
 *   padding of a row of weights holds does not matter.
 *   Values are in -127..127; no sum may have more than 65536 products.
 *   Floats are finite. Where they are not, the values written are unspecified.
 *   Scratch is in bytes and begins at a multiple of 16; ee_<op>_qs8_scratch() gives the size, or
 *   SIZE_MAX when that does not fit size_t.
 */
#ifndef EE_KERNELS_QS8_H
#define EE_KERNELS_QS8_H

#include "ee_kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

/* cdef:begin */
/* ---- Primitives of int8 mode ---------------------------------------------------------------- */

/* q[t, i] = round(x[t, i] / scale[t]), scale[t] = max |x[t]| / 127; 0 and 0 for a row below 2^-40
 * x (rows, in) with x_stride; q (rows, in) with q_stride, zeros behind each row; scale (rows). */
typedef void ee_quantize_qs8(int8_t *q, float *scale, const float *x, size_t rows, size_t in,
                             size_t q_stride, size_t x_stride);
ee_quantize_qs8 ee_quantize_qs8_c;

/* Integers of 15 bits in two digits: x[t, i] = (128 * high[t, i] + low[t, i]) * scale[t] up to
 * rounding, scale[t] = max |x[t]| / 16256; all 0 for a row below 2^-40
 * x (rows, in) with x_stride; high, low (rows, in) with q_stride, zeros behind each row; scale
 * (rows). */
typedef void ee_quantize_digits_qs8(int8_t *high, int8_t *low, float *scale, const float *x,
                                    size_t rows, size_t in, size_t q_stride, size_t x_stride);
ee_quantize_digits_qs8 ee_quantize_digits_qs8_c;

/* out[t, o] = (sum_i q[t, i] * weight[o, i]) * (scale[t] * weight_scale[o]) + bias[o]
 * q (rows, in), scale (rows), weight (outs, in), weight_scale (outs), bias (outs) or NULL for none,
 * out (rows, outs); the matrices with their strides.
 * Where the table has a `pack`, a weight_stride of 0 says that weight is what that made. */
typedef void ee_linear_qs8(float *out, const int8_t *q, const float *scale, const int8_t *weight,
                           const float *weight_scale, const float *bias,
                           size_t rows, size_t in, size_t outs,
                           size_t out_stride, size_t q_stride, size_t weight_stride);
ee_linear_qs8 ee_linear_qs8_c;

/* As ee_pack_linear. to: 64-byte aligned, `in` rounded up to a multiple of EE_PACKED_IN bytes for
 * every output of every panel. */
typedef void ee_pack_linear_int8(int8_t *to, const int8_t *weight, size_t in, size_t outs,
                                 size_t weight_stride);
enum { EE_PACKED_IN = 64 };

/* out[t, d] = (x[t, d] - mean_t) / sqrt(var_t + eps) * weight[d] + bias[d]
 * x, out (rows, dim); weight, bias (dim). out may be x. */
typedef void ee_layer_norm_exact(float *out, const float *x, const float *weight, const float *bias,
                                 size_t rows, size_t dim, float eps);
ee_layer_norm_exact ee_layer_norm_exact_c;

/* out[i] = x[i] / (1 + exp(-x[i])), `count` values. out may be x. */
typedef void ee_silu_exact(float *out, const float *x, size_t count);
ee_silu_exact ee_silu_exact_c;

/* out[i] = x[i] P(x[i]), P the distribution function of the normal distribution, `count` values. out
 * may be x. */
typedef void ee_gelu_exact(float *out, const float *x, size_t count);
ee_gelu_exact ee_gelu_exact_c;

/* out[t, d] = x[t, d] / (1 + exp(-x[t, dim + d]))
 * x (rows, 2*dim): values, then gates; out (rows, dim). */
typedef void ee_glu_exact(float *out, const float *x, size_t rows, size_t dim);
ee_glu_exact ee_glu_exact_c;

/* Probabilities for a product with value rows of int8, the scales of these folded in:
 *   softmax(x)[t, d] * value_scale[d] = (128 * high[t, d] + low[t, d]) * scale[t]
 * up to rounding; high and low in 0..127.
 * x (rows, dim), overwritten; value_scale (dim), 0 or at least 2^-47; high, low (rows, dim) with
 * q_stride, zeros behind each row; scale (rows). */
typedef void ee_softmax_qs8(int8_t *high, int8_t *low, float *scale, float *x,
                            const float *value_scale, size_t rows, size_t dim, size_t q_stride);
ee_softmax_qs8 ee_softmax_qs8_c;

/* out[t, d] = x[t, d] - max_t - log(sum_j exp(x[t, j] - max_t))
 * x, out (rows, dim). out may be x. */
typedef void ee_log_softmax_exact(float *out, const float *x, size_t rows, size_t dim);
ee_log_softmax_exact ee_log_softmax_exact_c;

/* out[t, d] = bias[d] + sum_j x[before + t + j - (kernel - 1 - ahead), d] * weight[j, d], frames
 * outside x left out
 * x (before + rows + after, dim): the frames of out, and those around them that there are; out
 * (rows, dim); weight (kernel, dim) with its stride; bias (dim); kernel odd, ahead less. */
typedef void ee_depthwise_conv_exact(float *out, const float *x,
                                     const float *weight, const float *bias,
                                     size_t rows, size_t before, size_t after, size_t dim,
                                     size_t kernel, size_t ahead, size_t weight_stride);
ee_depthwise_conv_exact ee_depthwise_conv_exact_c;

/* The most values of a row of which a kernel multiplies both digits at once: sums of either are
 * below 2^24, those of 128 * high + low below 2^31. */
enum { EE_DIGITS_IN = 1040 };

/* What linear_digits does behind the digits:
 *   out[t, o] = ((float)H * 128 + (float)L) * (scale[t] * weight_scale[o]) + bias[o],
 * H and L the sums of high[t, i] * weight[o, i] and low[t, i] * weight[o, i]
 * high, low (rows, in), in at most EE_DIGITS_IN; scale (rows), weight (outs, in), weight_scale
 * (outs) or NULL for ones, bias (outs) or NULL for none, out (rows, outs); the matrices with their
 * strides. */
typedef void ee_digits_product(float *out, const int8_t *high, const int8_t *low,
                               const float *scale, const int8_t *weight,
                               const float *weight_scale, const float *bias,
                               size_t rows, size_t in, size_t outs,
                               size_t out_stride, size_t q_stride, size_t weight_stride);

/* The primitives of int8 mode of one instruction set; as ee_ops_f32. */
typedef struct {
    ee_quantize_qs8 *quantize;
    ee_quantize_digits_qs8 *quantize_digits;
    ee_linear_qs8 *linear;
    ee_layer_norm_exact *layer_norm;
    ee_silu_exact *silu;
    ee_gelu_exact *gelu;
    ee_glu_exact *glu;
    ee_softmax_qs8 *softmax;
    ee_log_softmax_exact *log_softmax;
    ee_depthwise_conv_exact *depthwise_conv;
    ee_digits_product *linear_digits; /* NULL: linear multiplies one digit after the other */
    ee_pack_linear_int8 *pack;        /* or NULL; panel and is_packed as in ee_ops_f32 */
    size_t panel;
    int is_packed;
} ee_ops_qs8;

/* ---- Composites of int8 mode -----------------------------------------------------------------
 * Weight matrices have rows of ee_row_stride_qs8(n) bytes, depthwise weights of ee_row_stride(n)
 * floats. */

/* out[t, o] = (sum_i x[t, i] * weight[o, i]) * weight_scale[o] + bias[o], x in two digits
 * x (rows, in) with x_stride, may overlap; weight (outs, in), bias (outs); out (rows, outs). */
void ee_linear_digits_qs8_c(float *out, const float *x, const int8_t *weight,
                            const float *weight_scale, const float *bias,
                            size_t rows, size_t in, size_t outs, size_t x_stride,
                            void *scratch, const ee_ops_qs8 *ops, const ee_team *team);
size_t ee_linear_digits_qs8_scratch(size_t rows, size_t in, size_t outs, const ee_team *team);

/* out[t] = weight @ (x[stride*t], ..., x[stride*t + kernel-1]) + bias, by linear_digits
 * x (frames, channels) float; weight (outs, kernel*channels), taps outer, channels inner; bias
 * (outs); out (ee_stem_conv_f32_frames(frames, kernel, stride), outs). */
void ee_stem_conv_qs8_c(float *out, const float *x, const int8_t *weight,
                        const float *weight_scale, const float *bias,
                        size_t frames, size_t channels, size_t outs, size_t kernel, size_t stride,
                        void *scratch, const ee_ops_qs8 *ops, const ee_team *team);
size_t ee_stem_conv_qs8_scratch(size_t frames, size_t channels, size_t outs, size_t kernel,
                                size_t stride, const ee_team *team);

/* out[t, d] = (x[t, d] - mean_d) / sqrt(var_d + eps) * weight[d] + bias[d]
 * mean and biased variance of a channel over all rows. x, out (rows, dim); weight, bias (dim). out
 * may be x. */
void ee_group_norm_exact_c(float *out, const float *x, const float *weight, const float *bias,
                           size_t rows, size_t dim, float eps, const ee_ops_qs8 *ops,
                           const ee_team *team);

/* out[t, own] = weight[own] @ (x[t - taps/2, own], ..., x[t - taps/2 + taps-1, own]) + bias[own]
 * for the dim/groups channels `own` of each group, these in two digits with one scale for all rows;
 * frames outside x are 0.
 * x, out (rows, dim); weight (dim, in), in = taps * dim/groups, taps outer, the channels of the group
 * inner, never packed; weight_scale, bias (dim). dim is a multiple of groups. */
void ee_grouped_conv_qs8_c(float *out, const float *x, const int8_t *weight,
                           const float *weight_scale, const float *bias, size_t rows, size_t dim,
                           size_t in, size_t groups, void *scratch, const ee_ops_qs8 *ops,
                           const ee_team *team);
size_t ee_grouped_conv_qs8_scratch(size_t rows, size_t dim, size_t in, size_t groups,
                                   const ee_team *team);

/* For each head h of width e = dim/heads, with (q, k, v) = in_weight @ x + in_bias:
 *   context_h = softmax(q_h k_h^T / sqrt(e)) v_h;  out = out_weight @ context + out_bias
 * A frame sees its chunk and `left` frames before that, also past ones (ee_view).
 * x, out (rows, dim); in_weight (3*dim, dim), in_bias (3*dim): queries, keys, values, and the heads
 * in order within each; out_weight (dim, dim), out_bias (dim); a scale for each row of a matrix.
 * dim is a multiple of heads. kv (rows, 2*dim) float: keys and values, or NULL when they are not
 * wanted; past_kv (past, 2*dim): those of the frames before, or NULL with 0. out may be x. */
void ee_multi_head_attention_qs8_c(float *out, float *kv, const float *x, const int8_t *in_weight,
                                   const float *in_weight_scale, const float *in_bias,
                                   const int8_t *out_weight, const float *out_weight_scale,
                                   const float *out_bias, const float *past_kv, size_t rows,
                                   size_t dim, size_t heads, size_t chunk, size_t left,
                                   size_t past, void *scratch, const ee_ops_qs8 *ops,
                                   const ee_team *team);
size_t ee_multi_head_attention_qs8_scratch(size_t rows, size_t dim, size_t heads, size_t chunk,
                                           size_t left, size_t past, const ee_team *team);

/* As ee_multi_head_attention_qs8_c with all frames seen, and to the score of query t for key s in
 * head h is added gate[h, t] * distances[h, s - t + rows - 1], with x_h the columns h of x[t]:
 *   z = gate_weight @ x_h + gate_bias, by linear_digits;
 *   u = sigmoid(z0 + .. + z3), r = sigmoid(z4 + .. + z7)
 *   gate[h, t] = u * (r * gate_scale[h] - 1) + 2
 * gate_weight (8, e), gate_weight_scale, gate_bias (8), gate_scale (heads), distances
 * (heads, 2*rows - 1), contiguous. out may be x. */
void ee_gated_attention_qs8_c(float *out, const float *x, const int8_t *in_weight,
                              const float *in_weight_scale, const float *in_bias,
                              const int8_t *out_weight, const float *out_weight_scale,
                              const float *out_bias, const int8_t *gate_weight,
                              const float *gate_weight_scale, const float *gate_bias,
                              const float *gate_scale, const float *distances, size_t rows,
                              size_t dim, size_t heads, void *scratch, const ee_ops_qs8 *ops,
                              const ee_team *team);
size_t ee_gated_attention_qs8_scratch(size_t rows, size_t dim, size_t heads, const ee_team *team);

/* out = down_weight @ silu(up_weight @ layer_norm(x) + up_bias) + down_bias
 * x, out (rows, dim); norm_weight, norm_bias, down_bias (dim); up_weight (ff, dim), up_bias (ff);
 * down_weight (dim, ff). No residual. out may be x. */
void ee_feed_forward_qs8_c(float *out, const float *x,
                           const float *norm_weight, const float *norm_bias,
                           const int8_t *up_weight, const float *up_weight_scale,
                           const float *up_bias, const int8_t *down_weight,
                           const float *down_weight_scale, const float *down_bias,
                           size_t rows, size_t dim, size_t ff, float eps,
                           void *scratch, const ee_ops_qs8 *ops, const ee_team *team);
size_t ee_feed_forward_qs8_scratch(size_t rows, size_t dim, size_t ff, const ee_team *team);

/* out = out_weight @ silu(depthwise_conv(glu(in_weight @ layer_norm(x) + in_bias))) + out_bias
 * The depthwise convolution sees nothing after the frame's chunk (ee_view).
 * x, out (rows, dim); in_weight (2*dim, dim), in_bias (2*dim); depthwise_weight (kernel, dim)
 * float, depthwise_bias (dim); out_weight (dim, dim), out_bias (dim); kernel odd, ahead less. gated
 * (rows, dim): what the glu gives, or NULL when it is not wanted; past_gated (past, dim): that of
 * the frames before, or NULL with 0. No residual. out may be x. */
void ee_conv_module_qs8_c(float *out, float *gated, const float *x,
                          const float *norm_weight, const float *norm_bias,
                          const int8_t *in_weight, const float *in_weight_scale,
                          const float *in_bias,
                          const float *depthwise_weight, const float *depthwise_bias,
                          const int8_t *out_weight, const float *out_weight_scale,
                          const float *out_bias,
                          const float *past_gated, size_t rows, size_t dim, size_t kernel,
                          float eps, size_t ahead, size_t chunk, size_t past,
                          void *scratch, const ee_ops_qs8 *ops, const ee_team *team);
size_t ee_conv_module_qs8_scratch(size_t rows, size_t dim, size_t kernel, size_t ahead,
                                  size_t past, const ee_team *team);

/* The tensors of one Conformer layer, in the order of the model file. */
typedef struct {
    const float *ff1_norm_weight, *ff1_norm_bias;
    const int8_t *ff1_up_weight;
    const float *ff1_up_weight_scale, *ff1_up_bias;
    const int8_t *ff1_down_weight;
    const float *ff1_down_weight_scale, *ff1_down_bias;
    const float *attn_norm_weight, *attn_norm_bias;
    const int8_t *attn_in_weight;
    const float *attn_in_weight_scale, *attn_in_bias;
    const int8_t *attn_out_weight;
    const float *attn_out_weight_scale, *attn_out_bias;
    const float *conv_norm_weight, *conv_norm_bias;
    const int8_t *conv_in_weight;
    const float *conv_in_weight_scale, *conv_in_bias;
    const float *conv_depthwise_weight, *conv_depthwise_bias;
    const int8_t *conv_out_weight;
    const float *conv_out_weight_scale, *conv_out_bias;
    const float *ff2_norm_weight, *ff2_norm_bias;
    const int8_t *ff2_up_weight;
    const float *ff2_up_weight_scale, *ff2_up_bias;
    const int8_t *ff2_down_weight;
    const float *ff2_down_weight_scale, *ff2_down_bias;
    const float *norm_weight, *norm_bias;
} ee_conformer_weights_qs8;

/* x = x + feed_forward_1(x)/2;  x = x + attention(layer_norm(x));  x = x + conv_module(x);
 * x = x + feed_forward_2(x)/2;  out = layer_norm(x)
 * past as in ee_conformer_layer_f32_c, of floats too; with whole chunks the same bytes.
 * x, out (rows, dim). out may be x. */
void ee_conformer_layer_qs8_c(float *out, const float *x, const ee_conformer_weights_qs8 *weights,
                              ee_layer_past *past, const ee_view *view, size_t rows, size_t dim,
                              size_t heads, size_t ff, size_t kernel, float eps, void *scratch,
                              const ee_ops_qs8 *ops, const ee_team *team);
size_t ee_conformer_layer_qs8_scratch(const ee_view *view, size_t rows, size_t dim, size_t heads,
                                      size_t ff, size_t kernel, const ee_team *team);

/* out = log_softmax(weight @ x + bias), by linear_digits
 * x (rows, dim); weight (vocab, dim), weight_scale, bias (vocab); out (rows, vocab). */
void ee_exit_head_qs8_c(float *out, const float *x, const int8_t *weight,
                        const float *weight_scale, const float *bias,
                        size_t rows, size_t dim, size_t vocab, void *scratch,
                        const ee_ops_qs8 *ops, const ee_team *team);
size_t ee_exit_head_qs8_scratch(size_t rows, size_t dim, size_t vocab, const ee_team *team);

/* A bidirectional LSTM, as ee_lstm_f32_c; x and h are quantised, a frame at a time.
 * x (rows, in) float; in_weight (8*width, in), in_bias (8*width); forward_weight, backward_weight
 * (4*width, width); a scale for each row of a matrix; out (rows, 2*width). */
void ee_lstm_qs8_c(float *out, const float *x, const int8_t *in_weight,
                   const float *in_weight_scale, const float *in_bias,
                   const int8_t *forward_weight, const float *forward_weight_scale,
                   const int8_t *backward_weight, const float *backward_weight_scale, size_t rows,
                   size_t in, size_t width, void *scratch, const ee_ops_qs8 *ops,
                   const ee_team *team);
size_t ee_lstm_qs8_scratch(size_t rows, size_t in, size_t width, const ee_team *team);

/* Bytes from one row of n int8 values to the next: n rounded up to 16. */
size_t ee_row_stride_qs8(size_t n);
/* cdef:end */

/* ---- Variants of the primitives: as in ee_kernels.h, with the same bytes -------------------- */

ee_quantize_qs8 ee_quantize_qs8_avx2, ee_quantize_qs8_avx512, ee_quantize_qs8_neon,
    ee_quantize_qs8_dsp, ee_quantize_qs8_mve, ee_quantize_qs8_simd128;
ee_quantize_digits_qs8 ee_quantize_digits_qs8_avx2, ee_quantize_digits_qs8_avx512,
    ee_quantize_digits_qs8_neon, ee_quantize_digits_qs8_dsp, ee_quantize_digits_qs8_mve,
    ee_quantize_digits_qs8_simd128;
ee_linear_qs8 ee_linear_qs8_avx2, ee_linear_qs8_vnni, ee_linear_qs8_amx, ee_linear_qs8_neon,
    ee_linear_qs8_dot, ee_linear_qs8_i8mm, ee_linear_qs8_dsp, ee_linear_qs8_mve,
    ee_linear_qs8_simd128;
ee_pack_linear_int8 ee_pack_linear_vnni, ee_pack_linear_amx;
ee_digits_product ee_linear_digits_qs8_vnni, ee_linear_digits_qs8_dsp, ee_linear_digits_qs8_mve;
ee_layer_norm_exact ee_layer_norm_exact_avx2, ee_layer_norm_exact_avx512, ee_layer_norm_exact_neon,
    ee_layer_norm_exact_dsp, ee_layer_norm_exact_mve, ee_layer_norm_exact_simd128;
ee_silu_exact ee_silu_exact_avx2, ee_silu_exact_avx512, ee_silu_exact_neon,
    ee_silu_exact_dsp, ee_silu_exact_mve, ee_silu_exact_simd128;
ee_gelu_exact ee_gelu_exact_avx2, ee_gelu_exact_avx512, ee_gelu_exact_neon;
ee_glu_exact ee_glu_exact_avx2, ee_glu_exact_avx512, ee_glu_exact_neon,
    ee_glu_exact_dsp, ee_glu_exact_mve, ee_glu_exact_simd128;
ee_softmax_qs8 ee_softmax_qs8_avx2, ee_softmax_qs8_avx512, ee_softmax_qs8_neon,
    ee_softmax_qs8_dsp, ee_softmax_qs8_mve, ee_softmax_qs8_simd128;
ee_log_softmax_exact ee_log_softmax_exact_avx2, ee_log_softmax_exact_avx512,
    ee_log_softmax_exact_neon, ee_log_softmax_exact_mve, ee_log_softmax_exact_simd128;
ee_depthwise_conv_exact ee_depthwise_conv_exact_avx2, ee_depthwise_conv_exact_avx512,
    ee_depthwise_conv_exact_neon, ee_depthwise_conv_exact_dsp, ee_depthwise_conv_exact_mve,
    ee_depthwise_conv_exact_simd128;

#ifdef __cplusplus
}
#endif

#endif
