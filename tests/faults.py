"""Faults that ports have, each of which the conformance suite has to notice.

A fault is one text of a C file and what is put in its place; tests/test_planted_faults.py compiles
and runs it.
"""

from __future__ import annotations

from typing import NamedTuple

OPS = "kernels/src/ops"
SRC = "kernels/src"
PORT = "kernels/conformance"


class Fault(NamedTuple):
    """One fault.

    name: what a port does. file: from the root of the tree. text: occurs there exactly once.
    planted: takes its place. cases: a pattern; every case of such a name has to fail. isa: the
    kernels that have the fault. line: what a line does to the first of the cases ("change": a byte
    of it is another), where the fault shows on no better one.
    """

    name: str
    file: str
    text: str
    planted: str
    cases: str
    isa: str = "c"
    line: str = ""

    @property
    def tier(self) -> str:
        """Where it belongs; the tiers below know nothing of it."""
        return self.cases.partition("/")[0]


FAULTS = (
    # ---- integer ----
    Fault("rounds halves away from zero", f"{OPS}/quantize/ee_quantize_qs8_c.c",
          "(int8_t)ee_round_int(row[i] * inverse)",
          "(int8_t)(row[i] * inverse + (row[i] < 0.0f ? -0.5f : 0.5f))",
          "integer/quantize_qs8/ties_to_even"),
    Fault("truncates", f"{OPS}/quantize/ee_quantize_qs8_c.c",
          "(int8_t)ee_round_int(row[i] * inverse)",
          "(int8_t)(row[i] * inverse)",
          "integer/quantize_qs8/size_16"),
    Fault("uses the whole range of int8, down to -128", f"{OPS}/quantize/ee_quantize_qs8_c.c",
          "to[i] = (int8_t)ee_round_int(row[i] * inverse);",
          "const int32_t v = ee_round_int(row[i] * inverse * (128.0f / 127.0f));\n"
          "            to[i] = (int8_t)(v > 127 ? 127 : v);",
          "integer/quantize_qs8/both_ends"),
    Fault("keeps the scale of a row of zeros at 1", f"{OPS}/quantize/ee_quantize_qs8_c.c",
          "scale[t] = 0.0f;", "scale[t] = 1.0f;", "integer/quantize_qs8/zero*"),
    Fault("quantises rows that are all but zero", f"{OPS}/quantize/ee_quantize_qs8_c.c",
          "max < EE_SMALLEST_MAX", "max == 0.0f",
          "integer/quantize_qs8/below_the_smallest_scale"),
    Fault("has the smallest scale on the wrong side", f"{OPS}/quantize/ee_quantize_qs8_c.c",
          "max < EE_SMALLEST_MAX", "max <= EE_SMALLEST_MAX",
          "integer/quantize_qs8/at_the_smallest_scale"),
    Fault("divides by the scale", f"{OPS}/quantize/ee_quantize_qs8_c.c",
          "ee_round_int(row[i] * inverse)", "ee_round_int(row[i] / scale[t] + 0.0f * inverse)",
          "integer/quantize_qs8/beside_ties"),
    Fault("multiplies by 127 before it divides", f"{OPS}/quantize/ee_quantize_qs8_c.c",
          "ee_round_int(row[i] * inverse)", "ee_round_int(row[i] * 127.0f / max + 0.0f * inverse)",
          "integer/quantize_qs8/beside_ties"),
    Fault("does not fill a row with zeros", f"{OPS}/quantize/ee_quantize_qs8_c.c",
          "memset(to, 0, ee_row_stride_qs8(in));",
          "memset(to, 0, max < EE_SMALLEST_MAX ? ee_row_stride_qs8(in) : in);",
          "integer/quantize_qs8/size_15"),
    Fault("adds products as floats", f"{OPS}/linear/ee_linear_qs8_c.c",
          "int32_t sum = 0;\n"
          "            for (size_t i = 0; i < in; i++) {\n"
          "                sum += (int32_t)q[t * q_stride + i] * weight[o * weight_stride + i];",
          "float sum = 0.0f;\n"
          "            for (size_t i = 0; i < in; i++) {\n"
          "                sum += (float)(q[t * q_stride + i] * weight[o * weight_stride + i]);",
          "integer/linear_qs8/sums_beyond_2_24"),
    Fault("keeps sums in 24 bits", f"{OPS}/linear/ee_linear_qs8_c.c",
          "(float)sum *", "(float)(sum << 8 >> 8) *",
          "integer/linear_qs8/sums_largest"),
    Fault("scales by one after the other", f"{OPS}/linear/ee_linear_qs8_c.c",
          "(float)sum * (scale[t] * weight_scale[o])", "(float)sum * scale[t] * weight_scale[o]",
          "integer/linear_qs8/attention_in"),
    Fault("fuses the bias", f"{OPS}/linear/ee_linear_qs8_c.c",
          "bias ? y + bias[o] : y",
          "bias ? __builtin_fmaf((float)sum, scale[t] * weight_scale[o], bias[o]) : y",
          "integer/linear_qs8/attention_in"),
    Fault("gives the bias itself for a scale of zero", f"{OPS}/linear/ee_linear_qs8_c.c",
          "bias ? y + bias[o] : y",
          "bias ? (scale[t] == 0.0f ? bias[o] : y + bias[o]) : y",
          "integer/linear_qs8/zero_scales"),
    Fault("loses the last row of a tile", f"{OPS}/linear/ee_linear_qs8_avx2.c",
          "linear_tile(to, &x, t, scale + t, &panel, 3, &plan);",
          "linear_tile(to, &x, t, scale + t, &panel, 2, &plan);",
          "integer/linear_qs8/rows_3", "avx2"),
    Fault("begins a second block of rows with the first scale",
          f"{OPS}/linear/ee_linear_qs8_avx2.c",
          "q + t * q_stride, scale + t, weight,", "q + t * q_stride, scale, weight,",
          "integer/linear_qs8/rows_129", "avx2"),
    Fault("loses the first output of the second half of a tile",
          f"{OPS}/linear/ee_linear_qs8_vnni.c",
          "first_lanes(width > 16 ? width - 16 : 0)", "first_lanes(width > 17 ? width - 16 : 0)",
          "integer/linear_qs8/outs_17", "vnni"),
    Fault("begins a second block of rows with the first scale",
          f"{OPS}/linear/ee_linear_qs8_vnni.c",
          "q + t * q_stride, scale + t, weight,", "q + t * q_stride, scale, weight,",
          "integer/linear_qs8/rows_257", "vnni"),
    Fault("takes a block of inputs for the last one", f"{OPS}/linear/ee_linear_qs8_vnni.c",
          ".is_first = i == 0,", ".is_first = i % (2 * IN_BLOCK) == 0,",
          "integer/linear_qs8/down", "vnni"),
    Fault("quantises the last partial vector with what lies behind",
          f"{OPS}/quantize/ee_quantize_qs8_avx2.c",
          "in - i > 8 ? ee_exact_load(row + i + 8, in - i - 8)",
          "in - i > 9 ? ee_exact_load(row + i + 8, in - i - 8)",
          "integer/quantize_qs8/size_9", "avx2"),
    Fault("ignores the checksum of a frame", f"{PORT}/ee_conformance.c",
          "if (get_u32(payload + bytes) != crc_of(payload, bytes)) {",
          "if (get_u32(payload + bytes) != crc_of(payload, bytes) && bytes == 0) {",
          "integer/linear_qs8/rows_3", line="change"),
    # ---- int8 ----
    Fault("adds the mean in another order", f"{OPS}/layer_norm/ee_layer_norm_qs8_c.c",
          "const float mean = ee_sum(row, dim) * one_over_dim;",
          "float total = 0.0f;\n"
          "        for (size_t d = 0; d < dim; d++) {\n"
          "            total += row[d];\n"
          "        }\n"
          "        const float mean = total * one_over_dim;",
          "int8/layer_norm_qs8/dim_256"),
    Fault("divides by the dimension", f"{OPS}/layer_norm/ee_layer_norm_qs8_c.c",
          "ee_sum_lanes(lanes) * one_over_dim", "ee_sum_lanes(lanes) / (float)dim",
          "int8/layer_norm_qs8/rows_17"),
    Fault("adds eps to the deviation", f"{OPS}/layer_norm/ee_layer_norm_qs8_c.c",
          "sqrtf(variance + eps)", "(sqrtf(variance) + eps)", "int8/layer_norm_qs8/constant_row"),
    Fault("fuses weight and bias of a norm", f"{OPS}/layer_norm/ee_layer_norm_qs8_c.c",
          "((row[d] - mean) * inverse) * weight[d] + bias[d]",
          "__builtin_fmaf((row[d] - mean) * inverse, weight[d], bias[d])",
          "int8/layer_norm_qs8/dim_256"),
    Fault("adds exponentials in four lanes", f"{OPS}/log_softmax/ee_log_softmax_qs8_c.c",
          "lanes[d % 8] +=", "lanes[d % 4] +=", "int8/log_softmax_qs8/vocab_256"),
    Fault("takes the exponential of the C library", f"{OPS}/silu/ee_silu_qs8_c.c",
          '#include "../../ee_exact.h"',
          '#include <math.h>\n\n#include "../../ee_exact.h"\n\n#define ee_exp expf',
          "int8/silu_qs8/ff_2048"),
    Fault("lets exp grow beyond its bounds", f"{OPS}/silu/ee_silu_qs8_c.c",
          "x[i] / (1.0f + ee_exp(-x[i]))", "x[i] < -87.0f ? -0.0f : x[i] / (1.0f + ee_exp(-x[i]))",
          "int8/silu_qs8/far_below_zero"),
    Fault("flushes subnormal numbers", f"{OPS}/silu/ee_silu_qs8_c.c",
          "x[i] / (1.0f + ee_exp(-x[i]))",
          "(x[i] < 0x1p-126f && x[i] > -0x1p-126f ? 0.0f * x[i] : x[i]) / (1.0f + ee_exp(-x[i]))",
          "int8/silu_qs8/subnormal"),
    Fault("flushes subnormal taps", f"{OPS}/depthwise_conv/ee_depthwise_conv_qs8_c.c",
          "sum += x[(t + j - half) * dim + d]",
          "sum += (x[(t + j - half) * dim + d] + 0x1p-100f - 0x1p-100f)",
          "int8/depthwise_conv_qs8/subnormal"),
    Fault("flushes subnormal features", f"{OPS}/stem_conv/ee_stem_conv_qs8_c.c",
          "xs[i] * (float)w[i]", "(xs[i] + 0x1p-100f - 0x1p-100f) * (float)w[i]",
          "int8/stem_conv_qs8/subnormal"),
    Fault("flushes subnormal differences", f"{OPS}/layer_norm/ee_layer_norm_qs8_c.c",
          "((row[d] - mean) * inverse) * weight[d] + bias[d]",
          "((row[d] - mean + 0x1p-100f - 0x1p-100f) * inverse) * weight[d] + bias[d]",
          "int8/layer_norm_qs8/subnormal"),
    Fault("flushes subnormal products of scales", f"{OPS}/linear/ee_linear_qs8_c.c",
          "(float)sum * (scale[t] * weight_scale[o])",
          "(float)sum * (scale[t] * weight_scale[o] + 0x1p-100f - 0x1p-100f)",
          "integer/linear_qs8/subnormal_scales"),
    Fault("takes no maximum away", f"{OPS}/softmax/ee_softmax_qs8_c.c",
          "below = x[d] - max;", "below = x[d] - 0.0f * max;", "int8/softmax_qs8/far_above_zero"),
    Fault("counts scores however far below", f"{OPS}/softmax/ee_softmax_qs8_c.c",
          "ee_exp(below < EE_SMALLEST_EXPONENT ? EE_SMALLEST_EXPONENT : below)", "ee_exp(below)",
          "int8/softmax_qs8/large_value_row_far_below"),
    Fault("adds the exponentials of attention in four lanes", f"{OPS}/softmax/ee_softmax_qs8_c.c",
          "lanes[d % 8] += e;", "lanes[d % 4] += e;", "int8/softmax_qs8/sum_in_lanes"),
    Fault("sums probabilities with the scales of values", f"{OPS}/softmax/ee_softmax_qs8_c.c",
          "lanes[d % 8] += e;", "lanes[d % 8] += e * value_scale[d];",
          "int8/softmax_qs8/frames_249"),
    Fault("leaves the scales of values out", f"{OPS}/softmax/ee_softmax_qs8_c.c",
          "x[d] = e * value_scale[d];", "x[d] = e * value_scale[0];",
          "int8/*/one_value_row_far_larger"),
    Fault("truncates probabilities", f"{OPS}/softmax/ee_softmax_qs8_c.c",
          "ee_round_int(row[d] * gain)", "(int32_t)(row[d] * gain)",
          "int8/softmax_qs8/ties_to_even"),
    Fault("keeps the scale of a row of zero weights at that of its sum",
          f"{OPS}/softmax/ee_softmax_qs8_c.c",
          "= ee_probability_scale(top, sum);",
          "= top > 0.0f ? ee_probability_scale(top, sum) : 1.0f / sum;",
          "int8/softmax_qs8/all_values_zero"),
    Fault("scales values of all heads as the first", f"{OPS}/multi_head_attention/"
          "ee_multi_head_attention_qs8_c.c",
          "op->value_scale + head * rows", "op->value_scale + 0 * head * rows",
          "int8/multi_head_attention_qs8/values_of_one_head_zero"),
    Fault("keeps 7 bits of a probability", f"{OPS}/softmax/ee_softmax_qs8_c.c",
          "(int8_t)(p % 128)", "(int8_t)(p % 128 * 0)", "int8/softmax_qs8/frames_249"),
    Fault("loses the first tap at the beginning",
          f"{OPS}/depthwise_conv/ee_depthwise_conv_qs8_c.c",
          "t < half ? half - t : 0", "t < half ? half - t + 1 : 0",
          "int8/depthwise_conv_qs8/kernel_31_one_frame"),
    Fault("loses the last tap at the end", f"{OPS}/depthwise_conv/ee_depthwise_conv_qs8_c.c",
          "frames + half - t < kernel ? frames + half - t : kernel",
          "frames + half - t < kernel ? frames + half - t - 1 : kernel",
          "int8/depthwise_conv_qs8/kernel_31_inside"),
    Fault("adds zeros outside the utterance", f"{OPS}/depthwise_conv/ee_depthwise_conv_qs8_c.c",
          "float sum = bias[d];", "float sum = from > 0 || to < kernel ? bias[d] + 0.0f : bias[d];",
          "int8/depthwise_conv_qs8/minus_zero"),
    Fault("drops the bias of the folded batch norm",
          f"{OPS}/depthwise_conv/ee_depthwise_conv_qs8_c.c",
          "float sum = bias[d];", "float sum = 0.0f * bias[d];", "int8/depthwise_conv_qs8/zeros"),
    Fault("fuses the taps", f"{OPS}/depthwise_conv/ee_depthwise_conv_qs8_c.c",
          "sum += x[(t + j - half) * dim + d] * weight[j * weight_stride + d];",
          "sum = __builtin_fmaf(x[(t + j - half) * dim + d], weight[j * weight_stride + d], sum);",
          "int8/depthwise_conv_qs8/dim_256"),
    Fault("leaves the last of a partial group of taps out",
          f"{OPS}/stem_conv/ee_stem_conv_qs8_avx512.c",
          "i + 2 * lane < window", "i + 2 * lane + 1 < window", "int8/stem_conv_qs8/channels_[137]",
          "avx512"),
    Fault("writes outputs over the end of a row",
          f"{OPS}/stem_conv/ee_stem_conv_qs8_avx512.c",
          "outs > 16 * n ? outs - 16 * n : 0", "outs + 1 > 16 * n ? outs + 1 - 16 * n : 0",
          "int8/stem_conv_qs8/outs_1",
          "avx512"),
    Fault("leaves the last tap of the stem out", f"{OPS}/stem_conv/ee_stem_conv_qs8_c.c",
          "i < window;", "i < window - channels;", "int8/stem_conv_qs8/mels_80"),
    Fault("strides one frame too few", f"{OPS}/stem_conv/ee_stem_conv_qs8_c.c",
          "t * stride * channels", "t * (stride - 1) * channels", "int8/stem_conv_qs8/stride_3"),
    Fault("scales attention by the whole width",
          f"{OPS}/multi_head_attention/ee_multi_head_attention_qs8_c.c",
          "1.0f / sqrtf((float)width)", "1.0f / sqrtf((float)dim)",
          "int8/multi_head_attention_qs8/heads_[23468]"),
    Fault("writes one value behind the result", f"{OPS}/glu/ee_glu_qs8_c.c",
          "out[t * dim + d] =", "out[t * dim + d] = out[t * dim + d + 1] =",
          "int8/glu_qs8/*_1"),
    Fault("has a maximum of -0", f"{OPS}/log_softmax/ee_log_softmax_qs8_c.c",
          "const float max = ee_max(row, dim);",
          "const float max = dim == 1 ? row[0] : ee_max(row, dim);",
          "int8/log_softmax_qs8/minus_zero_alone"),
    # ---- f32 ----
    Fault("takes no maximum away in float32", f"{OPS}/softmax/ee_softmax_f32_c.c",
          "expf(row[d] - max)", "expf(row[d] - 0.0f * max)", "f32/softmax/far_above_zero"),
    Fault("has no minus infinity", f"{OPS}/log_softmax/ee_log_softmax_f32_c.c",
          "= row[d] - max - log_sum", "= fmaxf(row[d] - max - log_sum, -1e30f)",
          "f32/log_softmax/minus_inf"),
    Fault("subtracts squares of the mean", f"{OPS}/layer_norm/ee_layer_norm_f32_c.c",
          "(row[d] - mean) * (row[d] - mean)", "row[d] * row[d] - mean * mean",
          "f32/layer_norm/offset"),
    Fault("scales attention in float32 by the whole width",
          f"{OPS}/multi_head_attention/ee_multi_head_attention_f32_c.c",
          "sqrtf((float)(dim / op->heads))", "sqrtf((float)dim)",
          "f32/multi_head_attention/heads_[23468]"),
    # ---- frontend ----
    Fault("has the window one sample late", f"{SRC}/frontend/ee_frontend.c",
          "signal_at(frontend, audio, start + j)", "signal_at(frontend, audio, start + j + 1)",
          "frontend/features/*_demo"),
    Fault("does not reflect the end", f"{SRC}/frontend/ee_frontend.c",
          "i = 2 * last - i;", "return 0.0f;", "frontend/features/small-f32_demo"),
    Fault("divides samples by 32767", f"{SRC}/frontend/ee_frontend.c",
          "(1.0f / 32768.0f)", "(1.0f / 32767.0f)", "frontend/features/small-f32_demo"),
    Fault("adds no floor under the logarithm", f"{SRC}/frontend/ee_frontend.c",
          "value = value + frontend->log_floor;", "value = value + 0.0f;",
          "frontend/features/small-int8_silence"),
    # ---- model ----
    Fault("takes the head of the next exit", f"{SRC}/runtime/ee_graph_qs8.c",
          "qs8.heads[exit]", "qs8.heads[exit + 1 < model->config.exits ? exit + 1 : exit]",
          "model/exits/small-int8_one_frame"),
    Fault("has the last position wrong", f"{SRC}/runtime/ee_graph_qs8.c",
          "w->positions + t * ee_row_stride_qs8(dim)",
          "w->positions + (t + 1 < config->max_frames ? t : t - 1) * ee_row_stride_qs8(dim)",
          "model/exits/*[s8]_longest"),
    Fault("begins a second block of the stem without the stride", f"{SRC}/runtime/ee_graph_qs8.c",
          "b.first * j->stride * j->channels", "b.first * j->channels",
          "model/exits/commands_longest"),
    # ---- decision ----
    Fault("collapses a label across a blank", f"{SRC}/decode/ee_greedy.c",
          "last = label;", "last = label == blank ? last : label;",
          "decision/decide/small-int8_longest_exit_1"),
    Fault("takes the last of equal labels", f"{SRC}/decode/ee_greedy.c",
          "row[v] > row[label]", "row[v] >= row[label]",
          "decision/decide/ties-int8_longest_exit_1"),
    Fault("takes the last of equal peaks", f"{SRC}/decode/ee_greedy.c",
          "!(row[label] > peak)", "!(row[label] >= peak)",
          "decision/decide/ties-int8_constant_exit_1"),
    Fault("does not divide the entropy by the labels", f"{SRC}/exits/ee_exits.c",
          "/ ((float)rows * (float)vocab);\n    if", "/ (float)rows;\n    if",
          "decision/decide/commands_*_at_once"),
    Fault("stops only below the threshold", f"{SRC}/exits/ee_exits.c",
          "*score <= policy->threshold", "*score < policy->threshold",
          "decision/decide/*_entropy_equal"),
    Fault("goes one exit too far", f"{SRC}/exits/ee_exits.c",
          "*stop = exit >= policy->exit", "*stop = exit > policy->exit",
          "decision/decide/*_exit_1"),
    Fault("begins a text with a space", f"{SRC}/decode/ee_text.c",
          "boundary = w.length > 0;", "boundary = 1;", "decision/decide/ties-int8_longest_exit_1"),
    Fault("keeps two spaces", f"{SRC}/decode/ee_text.c",
          "boundary = w.length > 0;",
          "if (boundary) {\n"
          "                    put(&w, ' ');\n"
          "                }\n"
          "                boundary = w.length > 0;", "decision/decide/ties-int8_longest_exit_1"),
    Fault("ends a text with a space", f"{SRC}/decode/ee_text.c",
          "if (capacity > 0) {", "if (boundary) {\n"
          "        put(&w, ' ');\n"
          "    }\n"
          "    if (capacity > 0) {", "decision/decide/ties-int8_longest_exit_1"),
)
