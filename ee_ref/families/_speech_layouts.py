"""Checkpoints of wav2vec 2.0 and its kin: four layouts, and one that they are brought to.

`standard` gives the names of Hugging Face without the prefix of the model, with queries, keys and
values stacked as torch.nn.MultiheadAttention has them, weight norm folded, and a head for each
exit: decoders.N, and decoders.N.norm where the head begins with a norm. `described` reads what lies
beside the tensors in a folder of Hugging Face.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from ..errors import CheckpointError, shown, some
from . import _checkpoint

State = Mapping[str, np.ndarray]

_PREFIX = re.compile(r"^(?:wav2vec2|hubert|wavlm|w2v_encoder\.w2v_model|w2v_encoder|w2v_model)\.")

_RULES = tuple((re.compile(pattern), new) for pattern, new in (
    # torchaudio
    (r"^encoder\.feature_projection\.", "feature_projection."),
    (r"^encoder\.transformer\.", "encoder."),
    (r"^aux\.", "lm_head."),
    (r"\.attention\.attention\.", ".attention."),
    # fairseq and unilm
    (r"^proj\.", "lm_head."),
    (r"^post_extract_proj\.", "feature_projection.projection."),
    (r"^layer_norm\.", "feature_projection.layer_norm."),
    (r"^encoder\.pos_conv\.0\.", "encoder.pos_conv_embed.conv."),
    (r"^(feature_extractor\.conv_layers\.\d+)\.0\.", r"\1.conv."),
    (r"^(feature_extractor\.conv_layers\.\d+)\.2\.(?:1\.)?", r"\1.layer_norm."),
    (r"\.self_attn_layer_norm\.", ".layer_norm."),
    (r"\.self_attn\.grep_linear\.", ".attention.gru_rel_pos_linear."),
    (r"\.self_attn\.grep_a$", ".attention.gru_rel_pos_const"),
    (r"\.self_attn\.relative_attention_bias\.", ".attention.rel_attn_embed."),
    (r"\.self_attn\.", ".attention."),
    (r"\.fc1\.", ".feed_forward.intermediate_dense."),
    (r"\.fc2\.", ".feed_forward.output_dense."),
))

_TRAINING = re.compile(
    r"(?:masked_spec_embed|mask_emb|label_embs_concat)$|"
    r"(?:quantizer|input_quantizer|project_q|project_hid|final_proj|target_glu)\.")
"""What only pre-training uses."""

_POSITIONAL = "encoder.pos_conv_embed.conv."
_WEIGHT_NORMS = (("parametrizations.weight.original0", "parametrizations.weight.original1"),
                 ("weight_g", "weight_v"))
_LAYERS = r"encoder\.layers\.([0-9]{1,4})\."
_HEADS = r"decoders\.([0-9]{1,4})\."


def layout(names: Iterable[str]) -> str:
    """Whose names these are."""
    names = [*names]
    if any(name.startswith("encoder.transformer.") for name in names):
        return "torchaudio"
    if any("post_extract_proj." in name or ".self_attn." in name for name in names):
        return "fairseq"
    if any(re.match(_HEADS, name) for name in names):
        return "EE-Wav2Vec2"
    return "Hugging Face"


def standard(state: State, settings: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The state dict by the names of this module; one that has them already stays as it is.

    settings: see `ee_ref.families.wav2vec2.infer`. Raises CheckpointError for two tensors of one
    meaning that differ, a weight norm or heads that are incomplete, exits at layers that there are
    not.
    """
    found = _renamed(state)
    _fold_weight_norm(found)
    _stack_attention(found)
    _give_heads(found, settings)
    return found


def _renamed(state: State) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    origin: dict[str, str] = {}
    for name, value in state.items():
        new = _PREFIX.sub("", name)
        for pattern, replacement in _RULES:
            new = pattern.sub(replacement, new)
        if _TRAINING.match(new):
            continue
        if value.dtype.kind != "f":
            raise CheckpointError(f"tensor {name!r:.80}: expected floating-point numbers, "
                                  f"found {value.dtype}")
        if new in found:
            raise CheckpointError(f"expected one tensor for {new!r:.80}, found {origin[new]!r:.80} "
                                  f"and {name!r:.80}")
        found[new], origin[new] = value, name
    return found


def _fold_weight_norm(state: dict[str, np.ndarray]) -> None:
    """weight[:, :, k] = g[k] v[:, :, k] / |v[:, :, k]|, of either spelling or both."""
    weights = {"weight": state.pop(_POSITIONAL + "weight", None)}
    for names in _WEIGHT_NORMS:
        g, v = (state.pop(_POSITIONAL + name, None) for name in names)
        if g is None and v is None:
            continue
        if g is None or v is None:
            raise CheckpointError(f"weight norm: expected {_POSITIONAL}{names[0]} and {names[1]}, "
                                  f"found {names[0] if v is None else names[1]} alone")
        if v.ndim != 3 or g.shape != (1, 1, v.shape[2]):
            raise CheckpointError(f"weight norm {_POSITIONAL}{names[0]}: expected a number a tap "
                                  f"of {v.shape}, (1, 1, taps), found {g.shape}")
        exact = v.astype(np.float64)
        with np.errstate(all="ignore"):  # found by who stores it as float32
            weights[names[0]] = exact * (g / np.sqrt(np.square(exact).sum((0, 1), keepdims=True)))
    present = {name: weight for name, weight in weights.items() if weight is not None}
    for (one, first), (other, second) in pairwise(present.items()):
        if first.shape != second.shape or not (
                np.abs(first - second).max(initial=0) <= 1e-3 * np.abs(first).max(initial=0)):
            raise CheckpointError(f"{_POSITIONAL}{one} and {other}: expected two spellings of one "
                                  "weight, found different ones")
    if present:
        state[_POSITIONAL + "weight"] = next(iter(present.values()))


def _stack_attention(state: dict[str, np.ndarray]) -> None:
    """Queries, keys and values one below the other."""
    own = {match[1] for name in state
           if (match := re.match(r"(encoder\.layers\.\d+\.attention\.)[qkv]_proj\.", name))}
    for prefix in sorted(own):
        for part in ("weight", "bias"):
            names = [f"{prefix}{letter}_proj.{part}" for letter in "qkv"]
            missing = [name for name in names if name not in state]
            if missing:
                raise CheckpointError(f"expected queries, keys and values, found no {missing[0]}")
            arrays = [state.pop(name) for name in names]
            if len({array.shape for array in arrays}) > 1 or not arrays[0].ndim:
                raise CheckpointError(f"{prefix}[qkv]_proj.{part}: expected one shape, "
                                      f"found {some([array.shape for array in arrays])}")
            state[f"{prefix}in_proj_{part}"] = np.concatenate(arrays)


def conv_norm(state: State) -> str:
    """What the feature encoder has: a norm after the first convolution alone, or after each."""
    later = re.compile(r"feature_extractor\.conv_layers\.[1-9]\d*\.layer_norm\.")
    return "layer" if any(map(later.match, state)) else "group"


def norm(state: State, settings: Mapping[str, Any]) -> str:
    """Where the norms of layers are: as told, else as the published models have it."""
    return settings.get("norm") or ("post" if conv_norm(state) == "group" else "pre")


def exit_layers(state: State, settings: Mapping[str, Any]) -> tuple[int, ...]:
    """The layers after which exits are, from 1: those chosen, else at equal distances."""
    layers = _checkpoint.count(state, _LAYERS, "layers encoder.layers.N")
    heads = _own_heads(state)
    chosen = settings.get("exit_layers")
    if chosen is None:
        if layers % max(heads, 1):
            raise CheckpointError(f"exits: expected a number of heads that divides {layers} "
                                  f"layers, or --exits, found {heads} heads decoders.N")
        step = layers // max(heads, 1)
        return tuple(range(step, layers + 1, step))
    if not chosen or any(a >= b for a, b in pairwise((0, *chosen))) or chosen[-1] > layers:
        raise CheckpointError(f"exits: expected layers in 1..{layers}, each after the one before, "
                              f"found {some(chosen, 20)}")
    if heads and heads != len(chosen):
        raise CheckpointError(f"exits: expected one for each of {heads} heads decoders.N, "
                              f"found {len(chosen)}")
    return tuple(chosen)


def _own_heads(state: State) -> int:
    """How many heads decoders.N there are."""
    if not any(re.match(_HEADS, name) for name in state):
        return 0
    return _checkpoint.count(state, _HEADS, "exit heads decoders.N")


def _give_heads(state: dict[str, np.ndarray], settings: Mapping[str, Any]) -> None:
    """A head an exit, with the last norm of pre-norm layers before those that were trained with it:
    a head shared by all exits, or that of the last layer. Layers after the last exit go."""
    layers = _checkpoint.count(state, _LAYERS, "layers encoder.layers.N")
    if (told := settings.get("layers", layers)) != layers:
        raise CheckpointError(f"layers: expected {shown(repr(told), 20)}, as the configuration "
                              f"says, found {layers}")
    exits, own = exit_layers(state, settings), _own_heads(state)
    head = {part: state.pop(name) for part in ("weight", "bias")
            if (name := f"lm_head.{part}") in state}
    if not own and not head:
        raise CheckpointError(
            "expected a CTC head (lm_head, aux, proj) or exit heads decoders.N, found neither: a "
            "model without labels, such as one that is only pre-trained")
    for part, value in head.items():
        last = state.get(f"decoders.{own - 1}.{part}")
        if last is not None and not np.array_equal(last, value):
            raise CheckpointError(f"lm_head.{part} and decoders.{own - 1}.{part}: expected one "
                                  "head of the last layer under two names, found different ones")
    if not own:
        state.update({f"decoders.{exit_}.{part}": value
                      for exit_ in range(len(exits)) for part, value in head.items()})
    if norm(state, settings) == "pre":
        for part in ("weight", "bias"):
            final = state.pop(f"encoder.layer_norm.{part}", None)
            for exit_, layer in enumerate(exits):
                if final is not None and (not own or layer == layers):
                    state[f"decoders.{exit_}.norm.{part}"] = final
    for name in [*state]:
        if (match := re.match(_LAYERS, name)) and int(match[1]) >= exits[-1]:
            del state[name]


# ---- Beside the tensors, in a folder of Hugging Face ----

FRONT_ENDS = ("preprocessor_config.json", "processor_config.json")
"""Where the feature extractor is described: in a file of its own, or as a part of its processor."""

_NEEDED = {"feat_extract_activation": ("gelu",), "hidden_act": ("gelu",), "add_adapter": (False,),
           "feat_proj_layer_norm": (True,), "conv_pos_batch_norm": (False,)}
"""What a configuration has to say, if it says anything."""

_SIZES = {"layers": "num_hidden_layers", "dim": "hidden_size", "ff": "intermediate_size",
          "vocab": "vocab_size", "kernel": "num_conv_pos_embeddings",
          "groups": "num_conv_pos_embedding_groups", "conv_norm": "feat_extract_norm",
          "buckets": "num_buckets"}
"""What the tensors tell too."""

_KERNELS, _STRIDES = [10, 3, 3, 3, 3, 2, 2], [5, 2, 2, 2, 2, 2, 2]
"""What a configuration that does not mention them means, as all defaults here."""


def described(extras: Mapping[str, Any], types: tuple[str, ...]) -> dict[str, Any]:
    """The fields of a configuration that config.json and a file of FRONT_ENDS tell.

    extras: `weights_io.from_torch.Checkpoint.extras`. types: the models that it may be. Empty
    without these files. Raises CheckpointError for a model or an option that is none of these
    families'.
    """
    found: dict[str, Any] = {}
    config = extras.get("config.json")
    if isinstance(config, dict):
        _one_of(config, "model_type", types)
        for name, known in _NEEDED.items():
            if name in config:
                _one_of(config, name, known)
        if config.get("adapter_attn_dim") is not None:
            raise CheckpointError("config.json: adapter_attn_dim: expected none, found "
                                  f"{config['adapter_attn_dim']!r:.40}")
        stable = _one_of(config, "do_stable_layer_norm", (False, True), False)
        kernels = _counts(config, "conv_kernel", _KERNELS)
        strides = _counts(config, "conv_stride", _STRIDES)
        if len(kernels) != len(strides):
            raise CheckpointError("config.json: conv_kernel and conv_stride: expected as many of "
                                  f"each, found {len(kernels)} and {len(strides)}")
        blank = config.get("pad_token_id", 0)
        found = {name: config[theirs] for name, theirs in _SIZES.items() if theirs in config}
        found |= {"norm": "pre" if stable else "post",
                 "heads": config.get("num_attention_heads", 12),
                 "norm_eps": config.get("layer_norm_eps", 1e-5),
                 "convs": " ".join(f"{k}/{s}" for k, s in zip(kernels, strides)),
                 "blank": 0 if blank is None else blank,
                 "max_distance": config.get("max_bucket_distance", 800)}
    file = next((name for name in FRONT_ENDS if name in extras), "")
    features = extras.get(file)
    if file == "processor_config.json" and isinstance(features, dict):
        features = features.get("feature_extractor")
    if isinstance(features, dict):
        kind = "Wav2Vec2FeatureExtractor"
        _one_of(features, "feature_extractor_type", (kind,), kind, file)
        normalises = _one_of(features, "do_normalize", (False, True), True, file)
        found["frontend"] = "waveform" if normalises else "samples"
        found["sample_rate"] = features.get("sampling_rate", 16000)
    return found


def _one_of(config: Mapping[str, Any], name: str, known: tuple, default: Any = None,
            file: str = "config.json") -> Any:
    value = config.get(name, default)
    if not any(value is item or (isinstance(value, str) and value == item) for item in known):
        raise CheckpointError(f"{file}: {name}: expected one of {list(known)}, "
                              f"found {shown(repr(value), 60)}")
    return value


def _counts(config: Mapping[str, Any], name: str, default: list[int]) -> list[int]:
    value = config.get(name, default)
    if not (isinstance(value, list) and all(type(item) is int and item > 0 for item in value)):
        raise CheckpointError(f"config.json: {name}: expected a list of positive integers, "
                              f"found {shown(repr(value), 60)}")
    return value
