"""Small models of wav2vec 2.0 and its kin, and their checkpoints in every layout that is read."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from ee_ref.config import Config
from ee_ref.conformance.draw import Stream, random_state_dict
from ee_ref.convert import convert_state_dict
from ee_ref.families import wav2vec2, wavlm
from ee_ref.quantize import quantize

State = dict[str, np.ndarray]

POST = wav2vec2.Config(
    exits=2, layers_per_exit=(1, 1), dim=12, heads=3, ff=20, kernel=6, vocab=7, channels=6,
    groups=3, head_norm=(0, 0), frontend="samples")
"""As the base models: group norm, post-norm, an even kernel."""

PRE = replace(POST, conv_norm="layer", conv_bias=1, norm="pre", head_norm=(1, 1),
              frontend="waveform")
"""As the large models: layer norm and biases, pre-norm, and one head and norm for all exits."""

WAVLM = wavlm.Config(**asdict(POST), buckets=16, max_distance=10)

MODELS = {"post": POST, "pre": PRE, "wavlm": WAVLM,
          "wavlm_pre": replace(WAVLM, conv_norm="layer", norm="pre", head_norm=(1, 1))}

BASE = wav2vec2.Config(
    exits=6, layers_per_exit=(2,) * 6, dim=768, heads=12, ff=3072, kernel=128, vocab=32,
    head_norm=(0,) * 6)
"""The shape of wav2vec2-base with the exits of EE-Wav2Vec2."""

LENGTHS = (400, 2001, 9999)
"""Samples of the clips: one encoder frame, an odd number of samples, 30 encoder frames."""

SEED = 2006


def clip(samples: int) -> np.ndarray:
    """Noise with a constant beneath it and a swell, so that normalising it shows."""
    swell = np.linspace(0.1, 1, samples, dtype=np.float32)
    return Stream(samples)(samples, low=-0.2, high=0.25) * swell


def state_of(config: wav2vec2.Config, seed: int = SEED) -> State:
    """A random checkpoint by the names of `standard`, with one head for all exits."""
    state = random_state_dict(config, seed)
    for name in [*state]:
        if match := re.match(r"decoders\.\d+\.(.*)", name):
            state[name] = state[f"decoders.0.{match[1]}"]
    return state


def settings(config: wav2vec2.Config) -> dict[str, Any]:
    """What neither names nor shapes of a small model tell, for `convert_state_dict`."""
    extras = {"max_distance": config.max_distance} if isinstance(config, wavlm.Config) else {}
    return {"heads": config.heads, "norm": config.norm, "frontend": config.frontend,
            "exit_layers": (1, 2), "extras": extras}


def int8_model(config: wav2vec2.Config) -> tuple[Config, State]:
    """`state_of` a small model, converted and quantised."""
    return quantize(*convert_state_dict(plain(state_of(config)), **settings(config)))


def plain(state: Mapping[str, np.ndarray], prefix: str = "wav2vec2.") -> State:
    """With one head, as Hugging Face has it."""
    found: State = {f"{prefix}masked_spec_embed": np.zeros(12, np.float32)}
    for name, value in state.items():
        if name.startswith("decoders."):
            if re.match(r"decoders\.0\.(weight|bias)", name):
                found[name.replace("decoders.0", "lm_head")] = value
            elif name.startswith("decoders.0.norm."):
                found[name.replace("decoders.0.norm", f"{prefix}encoder.layer_norm")] = value
        elif name == "encoder.pos_conv_embed.conv.weight":
            base = f"{prefix}encoder.pos_conv_embed.conv.parametrizations.weight.original"
            found[f"{base}0"], found[f"{base}1"] = weight_norm(value)
        elif match := re.match(r"(.*attention\.)in_proj_(weight|bias)", name):
            for letter, part in zip("qkv", np.split(value, 3)):
                found[f"{prefix}{match[1]}{letter}_proj.{match[2]}"] = part
        else:
            found[prefix + name] = value
    return found


def weight_norm(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """g (1, 1, taps) and v, whose taps have norms of their own."""
    g = np.sqrt(np.square(weight).sum((0, 1), keepdims=True))
    return g, weight * np.linspace(0.5, 2, weight.shape[2], dtype=np.float32)


def renamed(state: Mapping[str, np.ndarray], *rules: tuple[str, str]) -> State:
    """With other names: each a pattern and what takes its place."""
    found: State = {}
    for name, value in state.items():
        for pattern, new in rules:
            name = re.sub(pattern, new, name)
        found[name] = value
    return found


OLD_WEIGHT_NORM = ((r"parametrizations\.weight\.original0", "weight_g"),
                   (r"parametrizations\.weight\.original1", "weight_v"))


def ee_wav2vec2(state: Mapping[str, np.ndarray]) -> State:
    """The layout of EE-Wav2Vec2: Hugging Face's, and every head under its name."""
    heads = {name: value for name, value in state.items()
             if re.match(r"decoders\.\d+\.(weight|bias)", name)}
    return {**renamed(plain(state), *OLD_WEIGHT_NORM), **heads}


def torchaudio(state: Mapping[str, np.ndarray]) -> State:
    found = renamed(
        plain(state, ""), (r"^feature_projection", "encoder.feature_projection"),
        (r"^encoder\.(layers|layer_norm|pos_conv)", r"encoder.transformer.\1"),
        (r"^lm_head", "aux"))
    del found["masked_spec_embed"]
    return found


def torchaudio_wavlm(state: Mapping[str, np.ndarray]) -> State:
    """Its attention is torch.nn.MultiheadAttention within another module."""
    found = {name: value for name, value in torchaudio(state).items()
             if not re.search("[qkv]_proj", name)}
    stacked = {name: value for name, value in state.items() if "in_proj_" in name}
    found.update(renamed(stacked, (r"^encoder\.", "encoder.transformer.")))
    return renamed(found, (r"attention\.(in_proj|out_proj)", r"attention.attention.\1"))


def fairseq(state: Mapping[str, np.ndarray]) -> State:
    """As fairseq saves a model that was fine-tuned, and unilm WavLM."""
    found = renamed(
        plain(state, "w2v_encoder.w2v_model."), *OLD_WEIGHT_NORM,
        (r"masked_spec_embed", "mask_emb"),
        (r"conv_layers\.(\d)\.conv\.", r"conv_layers.\1.0."),
        (r"(conv_layers\.0)\.layer_norm\.", r"\1.2."),
        (r"(conv_layers\.\d)\.layer_norm\.", r"\1.2.1."),
        (r"encoder\.pos_conv_embed\.conv", "encoder.pos_conv.0"),
        (r"(layers\.\d+\.)layer_norm", r"\1self_attn_layer_norm"),
        (r"feature_projection\.layer_norm", "layer_norm"),
        (r"feature_projection\.projection", "post_extract_proj"),
        (r"attention\.gru_rel_pos_linear", "self_attn.grep_linear"),
        (r"attention\.gru_rel_pos_const", "self_attn.grep_a"),
        (r"attention\.rel_attn_embed", "self_attn.relative_attention_bias"),
        (r"\.attention\.", ".self_attn."),
        (r"feed_forward\.intermediate_dense", "fc1"), (r"feed_forward\.output_dense", "fc2"),
        (r"^lm_head", "w2v_encoder.proj"))
    found["w2v_encoder.w2v_model.quantizer.vars"] = np.zeros((1, 4, 2), np.float32)
    return found


LAYOUTS: dict[str, Callable[[Mapping[str, np.ndarray]], State]] = {
    "Hugging Face": plain, "torchaudio": torchaudio, "fairseq": fairseq,
    "EE-Wav2Vec2": ee_wav2vec2}
