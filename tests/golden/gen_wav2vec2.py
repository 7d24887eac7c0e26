"""Golden values of wav2vec 2.0, HuBERT and WavLM: transformers' and torchaudio's own classes.

Double precision, rounded to float32 once, as in gen_ops.py. Needs transformers too.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import transformers
from torch import nn
from torchaudio.models import wav2vec2_model, wavlm_model

from ee_ref.families import wav2vec2, wavlm
from ee_ref.frontend.waveform import extract, unchanged
from tests.speech_layouts import (
    LENGTHS,
    MODELS,
    clip,
    plain,
    state_of,
    torchaudio,
    torchaudio_wavlm,
)

CLASSES = {"wav2vec2": (transformers.Wav2Vec2ForCTC, transformers.Wav2Vec2Config),
           "hubert": (transformers.HubertForCTC, transformers.HubertConfig),
           "wavlm": (transformers.WavLMForCTC, transformers.WavLMConfig)}


def generate() -> dict[str, np.ndarray]:
    """MODEL/SAMPLES: (exits, T', vocab) log-probabilities.

    The classes agree where more than one has a model, or this fails: that of HuBERT with wav2vec
    2.0, and torchaudio's at the last exit with both and with WavLM.
    """
    with torch.no_grad():
        values = {}
        for name, config in MODELS.items():
            kinds = ("wavlm",) if isinstance(config, wavlm.Config) else ("wav2vec2", "hubert")
            for samples in LENGTHS:
                features = (extract if config.frontend == "waveform" else unchanged)(clip(samples))
                inputs = torch.from_numpy(features.T).double()
                first, *others = (_exits(config, kind, inputs) for kind in kinds)
                others.append(_last_of_torchaudio(config, inputs))
                for other in others:
                    torch.testing.assert_close(other, first[-len(other):], rtol=0, atol=1e-11)
                values[f"{name}/{samples}"] = first.float().numpy()
        return values


def _exits(config: wav2vec2.Config, kind: str, inputs: torch.Tensor) -> torch.Tensor:
    model_class, config_class = CLASSES[kind]
    own = {"num_buckets": config.buckets, "max_bucket_distance": config.max_distance} \
        if isinstance(config, wavlm.Config) else {}
    model = model_class(config_class(
        hidden_size=config.dim, num_hidden_layers=sum(config.layers_per_exit),
        num_attention_heads=config.heads, intermediate_size=config.ff,
        conv_dim=[config.channels] * 7, conv_bias=bool(config.conv_bias),
        feat_extract_norm=config.conv_norm, do_stable_layer_norm=config.norm == "pre",
        num_conv_pos_embeddings=config.kernel, num_conv_pos_embedding_groups=config.groups,
        vocab_size=config.vocab, **own))
    _load(model, plain(state_of(config), f"{kind}."))
    found = model(inputs, output_hidden_states=True)
    norm = getattr(model, kind).encoder.layer_norm if config.norm == "pre" else nn.Identity()
    exits = torch.stack([model.lm_head(norm(found.hidden_states[layer])).log_softmax(-1)[0]
                         for layer in (1, 2)])
    torch.testing.assert_close(found.logits.log_softmax(-1)[0], exits[-1], rtol=0, atol=1e-11)
    return exits


def _last_of_torchaudio(config: wav2vec2.Config, inputs: torch.Tensor) -> torch.Tensor:
    is_wavlm = isinstance(config, wavlm.Config)
    own = {"encoder_num_buckets": config.buckets, "encoder_max_distance": config.max_distance} \
        if is_wavlm else {}
    model = (wavlm_model if is_wavlm else wav2vec2_model)(
        extractor_mode=f"{config.conv_norm}_norm",
        extractor_conv_layer_config=[(config.channels, *sizes) for sizes in config.conv_sizes],
        extractor_conv_bias=bool(config.conv_bias), encoder_embed_dim=config.dim,
        encoder_projection_dropout=0, encoder_pos_conv_kernel=config.kernel,
        encoder_pos_conv_groups=config.groups, encoder_num_layers=sum(config.layers_per_exit),
        encoder_num_heads=config.heads, encoder_attention_dropout=0,
        encoder_ff_interm_features=config.ff, encoder_ff_interm_dropout=0, encoder_dropout=0,
        encoder_layer_norm_first=config.norm == "pre", encoder_layer_drop=0,
        aux_num_out=config.vocab, **own)
    _load(model, (torchaudio_wavlm if is_wavlm else torchaudio)(state_of(config)))
    return model(inputs)[0].log_softmax(-1)


def _load(model: nn.Module, state: Mapping[str, np.ndarray]) -> None:
    model.double().eval().load_state_dict(
        {name: torch.from_numpy(value) for name, value in state.items()}, strict=True)
