"""What the tests share: models and clips, and the measure of an error."""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

import ee_ref
from ee_ref.conformance.draw import SMALL, SMALL_ZIPFORMER, random_features
from ee_ref.conformance.judge import error
from ee_ref.conformance.manifest import Vectors
from ee_ref.conformance.vector import Vector
from ee_ref.encoder import ReferenceEncoder
from ee_ref.families import conformer_lstm, splitformer, zipformer
from ee_ref.families.conformer import Config

GOLDEN = Path(__file__).parent / "golden"
DESK = Path(__file__).resolve().parent.parent / "kernels" / "conformance"
"""The C port of this machine, for the conformance suite."""

EMULATION = f"-include {Path(__file__).resolve().parent / 'c' / 'emulated_amx.h'}"
"""What makes a C compiler put portable C for the instructions of AMX."""

INSTALLED = Path(__file__).with_name("installed.py")

WHERE_FOUND = os.pathsep.join((str(Path(ee_ref.__file__).parent.parent), *sys.path))
"""The PYTHONPATH with which other processes find the ee_ref under test: pytest puts the source
tree, which may have no C library, before an installed one."""

FULL = Config(
    exits=6, layers_per_exit=(2,) * 6, dim=256, heads=8, ff=2048, kernel=31, vocab=256,
    max_frames=2000,
)
"""The published shape: 31,536,128 parameters."""

FULL_SPLITFORMER = splitformer.Config(**asdict(FULL), parallel=(1, 0, 0, 0, 0, 1))
"""The published shape: 36,683,264 parameters."""

FULL_LSTM = conformer_lstm.Config(**asdict(FULL), lstm_layers=6, lstm_width=256)
"""The published shape with the LSTMs of the branch that has them: 8,937,472 parameters a head."""

FULL_ZIPFORMER = zipformer.Config(**{
    **asdict(FULL), "exits": 10, "layers_per_exit": zipformer.EXITS[10], "max_frames": 1000})
"""The published shape with ten exits: 49,617,408 parameters."""

ONE_EXIT = replace(SMALL, exits=1, layers_per_exit=(3,))
ONE_EXIT_ZIPFORMER = replace(SMALL_ZIPFORMER, exits=1, layers_per_exit=zipformer.EXITS[1])

TOY_TOKENS = ("@", "<s>", "</s>", "<unk>", *(f"\u2581{c}" for c in "abcdefghijklmn"),
              *"abcdefghijklmn")
TOY = Config(
    exits=3, layers_per_exit=(1, 2, 1), dim=20, heads=4, ff=37, kernel=5, vocab=len(TOY_TOKENS),
    max_frames=100, frontend="logmel", n_fft=512, win_length=400,
)
"""A small model that takes audio and has tokens: 4 s at 16 kHz."""


def assert_close(actual: np.ndarray, expected: np.ndarray, tolerance: float, what: str) -> None:
    """Fail unless actual is float32, of the shape expected, and its `error` within tolerance."""
    assert actual.dtype == np.float32, f"{what}: expected float32, found {actual.dtype}"
    assert actual.shape == expected.shape, (
        f"{what}: expected shape {expected.shape}, found {actual.shape}"
    )
    found = error(actual, expected)
    assert found <= tolerance, f"{what}: error {found:.2e}, allowed {tolerance:.0e}"


def frozen(array: np.ndarray) -> np.ndarray:
    """What a golden keeps of an array that must come again to the byte.

    The integers, or the bits of the floats; of more than 512 entries their SHA-256, 32 bytes.
    """
    little = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"))
    if array.size > 512:
        return np.frombuffer(hashlib.sha256(little.tobytes()).digest(), np.uint8)
    return little.view(np.uint32) if array.dtype == np.float32 else little


@dataclass(frozen=True)
class Clip:
    """Random features of the full shape; goldens keep every `stride`-th encoder frame.

    The seeds are such that no two labels come so close that rounding could swap them
    (tests/golden/gen_model.py checks it), so every argmax has to agree.
    """

    frames: int
    stride: int
    seed: int


FULL_SEED = 2309
FULL_CLIPS = (Clip(101, 1, 1), Clip(333, 3, 1), Clip(1001, 7, 24))

SMALL_SEED = 9546
SMALL_CLIPS = (7, 8, 70)
"""Mel frames of the small model's goldens; 7 is one encoder frame."""

SPLITFORMER_CLIPS = (Clip(101, 4, 1), Clip(105, 4, 2), Clip(333, 11, 1), Clip(1001, 31, 1))
"""Clips of the full shape of the Splitformer: 24, 25, 82 and 249 encoder frames, even and odd."""

LSTM_CLIPS = (Clip(101, 4, 1), Clip(105, 4, 2), Clip(333, 11, 1))
"""Clips of the full shape with LSTMs: 24, 25 and 82 encoder frames."""

ZIPFORMER_FRAMES = (3, 5, 8, 70, 77)
"""Mel frames of the small Zipformers' goldens: 1, 2, 3, 34 and 38 rows of the stem."""

ZIPFORMER_CLIPS = (Clip(101, 4, 1), Clip(104, 4, 2), Clip(333, 11, 1))
"""Clips of the full shape of the Zipformer: 50, 51 and 166 rows, 25, 26 and 83 encoder frames."""

PROMISES = {1.0: 3e-5, 2.5: 2e-4}
"""qk_gain -> most that a log-probability may be away from PyTorch's (docs/numerics.md)."""

INT8_FULL = ((2309, 1.0), (2309, 2.5), (2310, 1.0))
"""Seed and qk_gain of the int8 models of the full shape whose bytes are frozen."""

INT8_CLIPS = (Clip(101, 1, 1), Clip(333, 1, 2))
"""Clips of those models."""


def small_features(frames: int) -> np.ndarray:
    """Mel features of the small models, the ones of their goldens."""
    return random_features(frames, SMALL_SEED, SMALL.mels)


def log_probs(config, tensors, features, make_encoder=ReferenceEncoder) -> np.ndarray:
    """(exits, T', vocab)"""
    return np.stack([out.log_probs for out in make_encoder(config, tensors).exits(features)])


def of_one_exit(state: dict[str, np.ndarray], layers: bool = True) -> dict[str, np.ndarray]:
    """A checkpoint with one exit as the models that have no more name it. layers: not of a
    Zipformer, whose layers are numbered."""
    def named(name: str) -> str:
        name = re.sub(r"^linears\.0\.", "linear.", name)
        return re.sub(r"^conformer\.0\.", "conformer.", name) if layers else name

    return {named(name): tensor for name, tensor in state.items()}


def make_desk(out: Path, *settings: str) -> None:
    """Compile that port into a folder, with a library of its own."""
    done = subprocess.run(["make", "-s", "-C", str(DESK), f"OUT={out}", *settings],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def link_to_installed(folder: Path, name: str, sources: Iterable[Path]) -> list[str]:
    """Compile a C program that uses the library installed; the command that runs it."""
    shared = folder / f"{name}.so"
    kernels = DESK.parent
    done = subprocess.run(
        ["cc", "-std=c99", "-ffp-contract=off", "-O1", "-D_DEFAULT_SOURCE", "-Dmain=program_main",
         "-shared", "-fPIC", "-pthread", f"-I{kernels / 'include'}",
         f"-I{kernels / 'src' / 'common'}",
         "-o", shared, *sources, "-lm"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return ["env", f"PYTHONPATH={WHERE_FOUND}", sys.executable, str(INSTALLED), str(shared)]


HEADERS = {dtype: (DESK.parent / "include" / name).read_text() for dtype, name in (
    ("f32", "ee_kernels.h"), ("qs8", "ee_kernels_qs8.h"))}
"""What the C library says of its ops."""

KERNELS = tuple(re.findall(r"^    ee_(\w+_(?:qs8|exact)) \*", HEADERS["qs8"], re.MULTILINE))
"""The primitives of int8 mode: a port of kernels/conformance can make each wrong by one bit."""


def in_place(dtype: str) -> list[str]:
    """The ops of whose kernels the header says that out may be x."""
    found = re.findall(
        r"out may be\s+(?:\* )?x\. \*/\n(?:typedef )?void ee_(\w+?)(?:_c)?\(", HEADERS[dtype])
    return [name.removesuffix("_f32") for name in found]


def cases_with_values(vectors: Vectors, op: str) -> list[Vector]:
    """The cases of an op that have a value to be wrong."""
    return [case for case in vectors.cases
            if case.op == op and any(array.size for array in case.expected.values())]


def letter_pairs(words: Iterable[str], count: int) -> tuple[str, ...]:
    """Labels as of a large-vocabulary model: letters, and the most frequent pairs of letters."""
    spelled = [f"▁{word}" for word in words]
    pairs = Counter(a + b for word in spelled for a, b in itertools.pairwise(word))
    letters = sorted({letter for word in spelled for letter in word})
    frequent = sorted(pairs, key=lambda pair: (-pairs[pair], pair))
    labels = ["<blank>", *letters, *frequent]
    return (*labels, *(f"<{i}>" for i in range(count)))[:count]


def spelled(graph, state=0, labels=(), key=0):
    """Every label sequence of a graph, with its key."""
    if graph.final[state]:
        yield labels, key
    for arc in range(graph.first[state], graph.first[state + 1]):
        yield from spelled(graph, int(graph.target[arc]), (*labels, int(graph.label[arc])),
                           key + int(graph.weight[arc]))
