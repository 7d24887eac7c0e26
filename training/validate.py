"""Error rates on the dev split while training.

Utterances are never padded beyond the front end's own padding.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from corpora import manifest
from ee_ref import audio
from ee_ref.evaluation.scoring import edit_distance
from ee_ref.frontend import plain
from recipe import MODEL, TOKENS
from scoring import strings_of_three

Dev = dict[str, list[tuple[np.ndarray, str]]]
"""Utterances by the name of their set: log_mel (T, mels), text."""


def greedy_text(best: Sequence[int], tokens: Sequence[str]) -> str:
    """Best tokens of the frames -> text."""
    kept = [token for token, before in zip(best, [0, *best[:-1]])
            if token != before and token != 0]
    return "".join(tokens[token] for token in kept).replace("▁", " ").strip()


def load_dev(data: Path, strings: int = 60) -> Dev:
    """Commands, strings of three of them, and wake phrases of the dev split."""
    lines = manifest(data, "dev.jsonl")
    commands = [line for line in lines if line["source"] == "speech-commands" and line["text"]]
    wake = [line for line in lines if line["source"] == "wake-words"]
    samples = {line["id"]: audio.read(line["path"], MODEL.sample_rate) for line in commands + wake}
    dev = {name: [(plain.extract(samples[line["id"]], MODEL), line["text"]) for line in chosen]
           for name, chosen in (("commands", commands), ("wake", wake))}
    dev["strings"] = [
        (plain.extract(np.concatenate([samples[line["id"]] for line in three]), MODEL),
         " ".join(line["text"] for line in three))
        for three in strings_of_three(commands, strings, 1)]
    empty = [name for name, utterances in dev.items() if not utterances]
    if empty:
        raise ValueError(f"{data}/dev.jsonl: expected commands, three of one speaker, and wake "
                         f"phrases, found no {', '.join(empty)}")
    return dev


@torch.no_grad()
def error_rates(model: torch.nn.Module, dev: Dev, device: torch.device) -> dict[str, list[float]]:
    """Word error rate in % of each exit, by set, of those that have words.

    Utterances of one length run together.
    """
    model.eval()
    rates = {}
    for name, utterances in dev.items():
        by_length = {}
        for energies, text in utterances:
            by_length.setdefault(len(energies), []).append((energies, text))
        errors, words = 0, 0
        for same in by_length.values():
            for first in range(0, len(same), 48):
                batch = same[first:first + 48]
                log_mel = torch.from_numpy(np.stack([x for x, _ in batch])).to(device)
                errors = errors + np.array([
                    sum(edit_distance(text.split(), greedy_text(row, TOKENS).split())
                        for row, (_, text) in zip(exit_best, batch))
                    for exit_best in model(log_mel).argmax(-1).tolist()])
                words += sum(len(text.split()) for _, text in batch)
        if words:
            rates[name] = [round(float(rate), 1) for rate in 100 * errors / words]
    model.train()
    return rates
