"""Greedy decoding by an attention decoder, beside PyTorch with the same cache of keys and values.

    python benchmarks/attention.py --seconds 10 --runs 10

The shape is the default of the authors' full_conformer (88.8 M parameters) with random weights: the
encoder up to the last exit, then LABELS steps of its decoder, whatever label is best. `torch` is
the modules of the checkpoint's own layout, the decoder one label at a time: scaled products of
attention over keys and values that are kept, those of the encoder's rows computed once. One thread
each, the peers in turn. Prints JSON lines: milliseconds of encoder and decoder, medians, and how
many labels are those of PyTorch.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from statistics import median

import numpy as np
from common import emit, frames_of, have, load, machine, parser_of

from ee_ref.conformance.draw import random_features, random_state_dict
from ee_ref.convert import convert_state_dict
from ee_ref.quantize import quantize
from tests.aed_layouts import FULL_AED, authors
from tests.support import FULL_SEED

LABELS = 60
"""Steps of 10 s: pieces of words of read speech come six a second."""

PUBLISHED = replace(FULL_AED, dim=256, heads=8, ff=2048, decoder_layers=6)

Peer = Callable[[np.ndarray], tuple[float, float, list[int]]]
"""Features to CPU seconds of the encoder and of the decoder, and the labels."""


def native(encoder) -> Peer:
    """The C runtime."""
    def run(features: np.ndarray) -> tuple[float, float, list[int]]:
        begun = time.process_time()
        *_, out = encoder.exits(features)
        encoded = time.process_time()
        decoder = encoder.decoder(out.exit, out.hidden, 1, LABELS)
        labels = [PUBLISHED.start_token]
        for _ in range(LABELS):
            labels.append(int(decoder.step(labels[-1:])[0].argmax()))
        return encoded - begun, time.process_time() - encoded, labels[1:]

    return run


def pytorch(state: dict[str, np.ndarray]) -> Peer:
    """The modules of the published layout, the decoder with keys and values kept."""
    import torch
    from torch.nn import functional as F

    from tests.golden.gen_aed import PublishedAed
    from tests.golden.gen_model import published_model

    torch.set_num_threads(1)
    model = published_model(PUBLISHED, state, PublishedAed)
    config, layers = PUBLISHED, model.decoders[-1].layers
    dim, heads = config.dim, config.heads

    def by_head(x: torch.Tensor) -> torch.Tensor:
        return x.view(1, -1, heads, dim // heads).transpose(1, 2)

    def attention(module, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        found = F.scaled_dot_product_attention(by_head(q), k, v)
        return module.out_proj(found.transpose(1, 2).reshape(1, -1, dim))

    def decode(hidden: torch.Tensor) -> list[int]:
        memory = []
        for layer in layers:
            module = layer.multihead_attn
            kv = F.linear(hidden, module.in_proj_weight[dim:], module.in_proj_bias[dim:])
            memory.append([by_head(x) for x in kv.chunk(2, dim=-1)])
        kept = [[torch.empty(1, heads, LABELS, dim // heads) for _ in range(2)] for _ in layers]
        labels = [config.start_token]
        for n in range(LABELS):
            x = model.emb.weight[labels[-1]].view(1, 1, dim) + model.positional_encoder_2.pe[n]
            for layer, (k, v), (own_k, own_v) in zip(layers, memory, kept):
                module = layer.self_attn
                q, new_k, new_v = F.linear(
                    layer.norm1(x), module.in_proj_weight, module.in_proj_bias).chunk(3, dim=-1)
                own_k[:, :, n], own_v[:, :, n] = by_head(new_k)[:, :, 0], by_head(new_v)[:, :, 0]
                x = x + attention(module, q, own_k[:, :, : n + 1], own_v[:, :, : n + 1])
                module = layer.multihead_attn
                q = F.linear(layer.norm2(x), module.in_proj_weight[:dim],
                             module.in_proj_bias[:dim])
                x = x + attention(module, q, k, v)
                x = x + layer.linear2(F.relu(layer.linear1(layer.norm3(x))))
            log_probs = model.linears_2[-1](model.layer_norm(x)).log_softmax(dim=-1)
            labels.append(int(log_probs.argmax()))
        return labels[1:]

    def run(features: np.ndarray) -> tuple[float, float, list[int]]:
        with torch.inference_mode():
            begun = time.process_time()
            *_, hidden = model.hidden(torch.from_numpy(features))
            encoded = time.process_time()
            labels = decode(hidden)
            return encoded - begun, time.process_time() - encoded, labels

    return run


def peers() -> dict[str, Peer]:
    """Those that can run here; PyTorch first."""
    from ee_ref.native._session import NativeModel

    state = random_state_dict(PUBLISHED, FULL_SEED)
    config, tensors = convert_state_dict(state, heads=PUBLISHED.heads)
    found = {"torch": pytorch(authors(state, PUBLISHED))} if have("torch", "torchaudio") else {}
    found["native-f32"] = native(NativeModel(config, tensors))
    found["native-int8"] = native(NativeModel(*quantize(config, tensors)))
    return found


def main() -> None:
    args = parser_of(__doc__, runs=10, seconds=10.0).parse_args()
    features = random_features(frames_of(args.seconds), 3)
    runs: dict[str, list] = {}
    running = peers()
    emit([machine()])
    for number in range(args.runs + 1):
        for name, run in running.items():
            taken = run(features)
            if number:  # the first one warms up
                runs.setdefault(name, []).append(taken)
    beside = runs.get("torch")
    for name, taken in runs.items():
        line = {"benchmark": "attention", "peer": name, "seconds": args.seconds, "labels": LABELS,
                "encoder_ms": 1e3 * median(run[0] for run in taken),
                "decoder_ms": 1e3 * median(run[1] for run in taken)}
        if beside is not None:
            line |= {
                "decoder_by_torch": median(a[1] / b[1] for a, b in zip(taken, beside)),
                "greedy_by_torch": median(sum(a[:2]) / sum(b[:2]) for a, b in zip(taken, beside)),
                "same_labels": sum(a == b for a, b in zip(taken[0][2], beside[0][2]))}
        emit([{**line, **load()}])


if __name__ == "__main__":
    main()
