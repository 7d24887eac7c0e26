"""Golden values of every op: PyTorch's and torchaudio's own modules on ee_ref.conformance.cases.

They run in double precision and are rounded to float32 once. So the goldens are the same from any
CPU, and a tolerance measures the error of ee_ref alone.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torchaudio.models.conformer import ConformerLayer, _ConvolutionModule, _FeedForwardModule
from torchaudio.models.wav2vec2.wavlm_attention import WavLMSelfAttention

from ee_ref.conformance.cases import cases_of, op_names, outputs
from ee_ref.ops import LayerPast


def generate() -> dict[str, np.ndarray]:
    """`op/case/N` -> output N of the op."""
    goldens = {}
    with torch.no_grad():
        for op in op_names():
            for case in cases_of(op):
                arguments = {name: _double(value) for name, value in case.arguments().items()}
                found = outputs(op, ORACLES[op](**arguments))
                goldens |= {f"{op}/{case.name}/{number}": output.float().numpy()
                            for number, output in enumerate(found)}
    return goldens


def _double(value):
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value).double()
    if isinstance(value, dict):
        return {name: _double(item) for name, item in value.items()}
    if isinstance(value, LayerPast):
        return LayerPast(*map(_double, value))
    return value


def _fill(module: nn.Module, tensors: dict[str, torch.Tensor]) -> nn.Module:
    """`module` in double precision and evaluation mode with these tensors, all of them."""
    module = module.double().eval()
    module.load_state_dict(tensors, strict=True)
    return module


def linear(x, weight, bias):
    outs, ins = weight.shape
    tensors = {"weight": weight} if bias is None else {"weight": weight, "bias": bias}
    return _fill(nn.Linear(ins, outs, bias=bias is not None), tensors)(x)


def layer_norm(x, weight, bias, eps):
    return _fill(nn.LayerNorm(x.shape[-1], eps), {"weight": weight, "bias": bias})(x)


def depthwise_conv(x, weight, bias, ahead, before, after):
    kernel, dim = weight.shape
    conv = _fill(nn.Conv1d(dim, dim, kernel, groups=dim),
                 {"weight": weight.T[:, None, :], "bias": bias})
    padded = F.pad(x, (0, 0, kernel - 1 - ahead, ahead))
    return conv(padded.T[None])[0].T[before : len(x) - after]


def _visible(frames, past, chunk, left):
    """(frames, past + frames): what a frame sees, of the past and of the frames."""
    at, of = torch.arange(frames)[:, None], torch.arange(-past, frames)[None]
    if chunk == 0:
        return (of >= -left).expand(frames, -1)
    start = at // chunk * chunk
    return (of >= start - left) & (of < start + chunk)


def stem_conv(x, weight, bias, stride):
    outs, channels = len(weight), x.shape[1]
    kernel = weight.shape[1] // channels
    if len(x) < kernel:
        return torch.zeros(0, outs)
    channels_first = weight.reshape(outs, kernel, channels).transpose(1, 2)
    conv = nn.Conv1d(channels, outs, kernel, stride)
    return _fill(conv, {"weight": channels_first, "bias": bias})(x.T[None])[0].T


def multi_head_attention(
    x, in_weight, in_bias, out_weight, out_bias, heads, chunk, left, past=None
):
    """PyTorch's module in full view; in a limited one its function over keys and values with those
    of the past before them, and a mask."""
    dim = x.shape[1]
    queries, kv = F.linear(x, in_weight, in_bias).split([dim, 2 * dim], dim=1)
    if chunk == 0:
        attention = _fill(nn.MultiheadAttention(dim, heads), {
            "in_proj_weight": in_weight, "in_proj_bias": in_bias,
            "out_proj.weight": out_weight, "out_proj.bias": out_bias,
        })
        return attention(x[:, None], x[:, None], x[:, None], need_weights=False)[0][:, 0], kv
    seen = kv if past is None else torch.cat([past, kv])
    queries, keys, values = (
        part.reshape(len(part), heads, -1).transpose(0, 1)
        for part in (queries, *seen.split(dim, dim=1)))
    mask = _visible(len(x), len(seen) - len(x), chunk, left)
    context = F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
    return F.linear(context.transpose(0, 1).reshape(x.shape), out_weight, out_bias), kv


def feed_forward(
    x, norm_weight, norm_bias, up_weight, up_bias, down_weight, down_bias, eps
):
    module = _fill(_FeedForwardModule(x.shape[1], len(up_weight)), {
        "sequential.0.weight": norm_weight, "sequential.0.bias": norm_bias,
        "sequential.1.weight": up_weight, "sequential.1.bias": up_bias,
        "sequential.4.weight": down_weight, "sequential.4.bias": down_bias,
    })
    _set_layer_norm_eps(module, eps)
    return module(x)


def conv_module(
    x, norm_weight, norm_bias, in_weight, in_bias, depthwise_weight, depthwise_bias, out_weight,
    out_bias, eps, ahead, chunk, past=None,
):
    """torchaudio's module; in a limited view its layers around a convolution with a mask."""
    kernel, dim = depthwise_weight.shape
    module = _fill(_ConvolutionModule(dim, dim, kernel, bias=True), {
        "layer_norm.weight": norm_weight, "layer_norm.bias": norm_bias,
        "sequential.0.weight": in_weight[:, :, None], "sequential.0.bias": in_bias,
        "sequential.2.weight": depthwise_weight.T[:, None], "sequential.2.bias": depthwise_bias,
        **{f"sequential.3.{name}": value for name, value in _identity_batch_norm(dim).items()},
        "sequential.5.weight": out_weight[:, :, None], "sequential.5.bias": out_bias,
    })
    _set_layer_norm_eps(module, eps)
    gated = module.sequential[:2](module.layer_norm(x).T[None])[0].T
    if chunk == 0 and ahead == kernel // 2:
        return module(x[None])[0], gated
    seen = gated if past is None else torch.cat([past, gated])
    convolved = _limited_conv(seen, len(x), depthwise_weight, depthwise_bias, ahead, chunk)
    return module.sequential[3:](convolved.T[None])[0].T, gated


def _limited_conv(seen, frames, weight, bias, ahead, chunk):
    """Of the last `frames` of (past + frames, D): each tap with the mask of what its frame sees."""
    kernel, past = len(weight), len(seen) - frames
    windows = F.pad(seen, (0, 0, kernel - 1 - ahead, ahead)).unfold(0, kernel, 1)[past:]
    visible = torch.cat([torch.zeros(frames, kernel - 1 - ahead, dtype=torch.bool),
                         _visible(frames, past, chunk, kernel),
                         torch.zeros(frames, ahead, dtype=torch.bool)], dim=1)
    masks = torch.stack([visible[t, past + t : past + t + kernel] for t in range(frames)])
    return torch.einsum("tdk,tk,kd->td", windows, masks.double(), weight) + bias


def conformer_layer(x, weights, heads, eps, view, past=None):
    """torchaudio's layer; in a limited view its modules as above, joined as it joins them."""
    kernel, dim = weights["conv.depthwise.weight"].shape
    if view.chunk == 0 and view.ahead == kernel // 2:
        return _whole_layer(x, weights, heads, eps)

    def module(prefix, *parts):
        return [weights[f"{prefix}.{part}.{kind}"] for part in parts for kind in ("weight", "bias")]

    kv, gated = past or (None, None)
    x = x + feed_forward(x, *module("ff1", "norm", "up", "down"), eps) / 2
    normed = layer_norm(x, *module("attn", "norm"), eps)
    x = x + multi_head_attention(normed, *module("attn", "in", "out"), heads, view.chunk, view.left,
                                 kv)[0]
    x = x + conv_module(x, *module("conv", "norm", "in", "depthwise", "out"), eps, view.ahead,
                        view.chunk, gated)[0]
    x = x + feed_forward(x, *module("ff2", "norm", "up", "down"), eps) / 2
    return layer_norm(x, weights["norm.weight"], weights["norm.bias"], eps)


def _whole_layer(x, weights, heads, eps):
    kernel, dim = weights["conv.depthwise.weight"].shape
    tensors = {theirs: weights[ours] for ours, theirs in _CONFORMER_LAYER.items()}
    for index in (0, 5):
        name = f"conv_module.sequential.{index}.weight"
        tensors[name] = tensors[name][:, :, None]
    tensors["conv_module.sequential.2.weight"] = weights["conv.depthwise.weight"].T[:, None]
    for name, value in _identity_batch_norm(dim).items():
        tensors[f"conv_module.sequential.3.{name}"] = value
    module = _fill(ConformerLayer(dim, len(weights["ff1.up.weight"]), heads, kernel), tensors)
    _set_layer_norm_eps(module, eps)
    return module(x[:, None], None)[:, 0]


_CONFORMER_LAYER = {
    "attn.in.weight": "self_attn.in_proj_weight",
    "attn.in.bias": "self_attn.in_proj_bias",
    **{
        f"{ours}.{kind}": f"{theirs}.{kind}"
        for ours, theirs in {
            "ff1.norm": "ffn1.sequential.0",
            "ff1.up": "ffn1.sequential.1",
            "ff1.down": "ffn1.sequential.4",
            "attn.norm": "self_attn_layer_norm",
            "attn.out": "self_attn.out_proj",
            "conv.norm": "conv_module.layer_norm",
            "conv.in": "conv_module.sequential.0",
            "conv.depthwise": "conv_module.sequential.2",
            "conv.out": "conv_module.sequential.5",
            "ff2.norm": "ffn2.sequential.0",
            "ff2.up": "ffn2.sequential.1",
            "ff2.down": "ffn2.sequential.4",
            "norm": "final_layer_norm",
        }.items()
        for kind in ("weight", "bias")
    },
}


def exit_head(x, weight, bias):
    return F.log_softmax(linear(x, weight, bias), dim=-1)


def lstm(x, in_weight, in_bias, forward_weight, backward_weight):
    width = forward_weight.shape[1]
    module = nn.LSTM(x.shape[1], width, bidirectional=True)
    tensors = {}
    for suffix, weight, bias, recurrent in zip(
            ("_l0", "_l0_reverse"), in_weight.split(4 * width), in_bias.split(4 * width),
            (forward_weight, backward_weight)):
        tensors |= {f"weight_ih{suffix}": weight, f"bias_ih{suffix}": bias / 4,
                    f"weight_hh{suffix}": recurrent, f"bias_hh{suffix}": bias * 3 / 4}
    return _fill(module, tensors)(x[:, None])[0][:, 0]


def group_norm(x, weight, bias, eps):
    dim = x.shape[1]
    return _fill(nn.GroupNorm(dim, dim, eps), {"weight": weight, "bias": bias})(x.T[None])[0].T


def grouped_conv(x, weight, bias, groups):
    frames, dim = x.shape
    channels_first = weight.reshape(dim, -1, dim // groups).transpose(1, 2)
    kernel = channels_first.shape[2]
    conv = nn.Conv1d(dim, dim, kernel, padding=kernel // 2, groups=groups)
    return _fill(conv, {"weight": channels_first, "bias": bias})(x.T[None])[0].T[:frames]


def gated_attention(x, in_weight, in_bias, out_weight, out_bias, gate_weight, gate_bias, gate_scale,
                    distances):
    """torchaudio's, whose bias is a matrix of queries and keys."""
    (frames, dim), heads = x.shape, len(gate_scale)
    module = WavLMSelfAttention(dim, heads, has_relative_attention_bias=False)
    module = _fill(module, {
        "attention.in_proj_weight": in_weight, "attention.in_proj_bias": in_bias,
        "attention.out_proj.weight": out_weight, "attention.out_proj.bias": out_bias,
        "gru_rel_pos_linear.weight": gate_weight, "gru_rel_pos_linear.bias": gate_bias,
        "gru_rel_pos_const": gate_scale.reshape(1, heads, 1, 1),
    })
    relative = torch.arange(frames) - torch.arange(frames)[:, None] + frames - 1
    return module(x[None], position_bias=distances[:, relative])[0][0]


def _identity_batch_norm(dim: int) -> dict[str, torch.Tensor]:
    """Tensors with which BatchNorm1d changes nothing: here it is folded into the convolution."""
    return {
        "weight": torch.full((dim,), math.sqrt(1 + nn.BatchNorm1d(1).eps), dtype=torch.double),
        "bias": torch.zeros(dim),
        "running_mean": torch.zeros(dim),
        "running_var": torch.ones(dim),
        "num_batches_tracked": torch.tensor(1),
    }


def _set_layer_norm_eps(module: nn.Module, eps: float) -> None:
    for part in module.modules():
        if isinstance(part, nn.LayerNorm):
            part.eps = eps


ORACLES = {
    "conformer_layer": conformer_layer,
    "conv_module": conv_module,
    "depthwise_conv": depthwise_conv,
    "exit_head": exit_head,
    "feed_forward": feed_forward,
    "gated_attention": gated_attention,
    "gelu": lambda x: nn.GELU()(x),
    "glu": lambda x: nn.GLU(dim=-1)(x),
    "group_norm": group_norm,
    "grouped_conv": grouped_conv,
    "layer_norm": layer_norm,
    "linear": linear,
    "log_softmax": lambda x: nn.LogSoftmax(dim=-1)(x),
    "lstm": lstm,
    "multi_head_attention": multi_head_attention,
    "silu": lambda x: nn.SiLU()(x),
    "softmax": lambda x: nn.Softmax(dim=-1)(x),
    "stem_conv": stem_conv,
}
