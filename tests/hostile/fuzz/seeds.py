"""Makes the seeds of ../corpus for the targets of this folder.

    python -m tests.hostile.fuzz.seeds [FOLDER]

Models are tiny and random, and the bytes are the same on every machine (tests/test_fuzz.py). Files
whose names begin with `was-` are inputs that once failed, and are made by nobody.
"""

from __future__ import annotations

import string
import struct
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from ee_ref import flash_image, model_file
from ee_ref.config import Config as AnyConfig
from ee_ref.conformance.draw import Stream, random_state_dict, random_tensors
from ee_ref.conformance.protocol import Body, Frame, Type
from ee_ref.conformance.suite import op_vectors
from ee_ref.convert import convert_state_dict
from ee_ref.families import aed, conformer_lstm, splitformer, wav2vec2, wavlm, zipformer
from ee_ref.families.conformer import Config
from ee_ref.phrases import load
from ee_ref.phrases.packed import pack
from ee_ref.plan import device_plan
from ee_ref.quantize import quantize
from ee_ref.tokens import Tokens

CORPUS = Path(__file__).resolve().parent.parent / "corpus"

TINY = Config(
    exits=2, layers_per_exit=(1, 1), dim=8, heads=2, ff=9, kernel=3, vocab=5, max_frames=12,
    mels=3, n_fft=16, win_length=12, hop_length=10, frontend="logmel",
)
SPEECH = wav2vec2.Config(
    exits=2, layers_per_exit=(1, 1), dim=8, heads=2, ff=9, kernel=4, vocab=5, channels=6,
    convs="4/2 3/2", groups=2, head_norm=(0, 0), frontend="samples",
)
IMAGES: dict[str, AnyConfig] = {
    "f32-mel": replace(TINY, frontend="mel", pad=5),
    "qs8-logmel": replace(TINY, dtype="qs8"),
    "qs8-deep": replace(TINY, dtype="qs8", exits=1, layers_per_exit=(2,), dim=20, heads=5,
                        vocab=20),
    "qs8-decoder": aed.Config(**asdict(replace(TINY, dtype="qs8", exits=1, layers_per_exit=(1,))),
                              decoder_layers=1, max_tokens=6, pad_token=3),
    "qs8-parallel": splitformer.Config(**asdict(replace(TINY, dtype="qs8")), parallel=(1, 1)),
    "qs8-zipformer": zipformer.Config(**{
        **asdict(TINY), "dtype": "qs8", "exits": 1, "layers_per_exit": (19,), "max_frames": 6}),
    "qs8-lstm": conformer_lstm.Config(
        **asdict(replace(TINY, dtype="qs8")), lstm_layers=2, lstm_width=5),
    "f32-samples": SPEECH,
    "qs8-samples": replace(SPEECH, dtype="qs8"),
    "qs8-waveform": wavlm.Config(
        **{**asdict(SPEECH), "dtype": "qs8", "frontend": "waveform", "conv_norm": "layer",
           "conv_bias": 1, "norm": "pre", "head_norm": (0, 1)}, buckets=8, max_distance=20),
}
TOKENS = ("@", "\u2581a", "b", "\u2581", "\u00e9", *map(str, range(15)))
LEAST_BYTES = 200
"""Cases with fewer bytes of arguments have dimensions of 1; an op gets a larger one if it can."""
LEAST_MEMORY = 4096 + 128
"""What frames.c gives a port beyond its state, whatever the input says."""


def image(config: AnyConfig, said: str = "") -> bytes:
    """The flash image of a random model, with the phrases of a text if there is one."""
    made, tensors = _random_model(config)
    if config.dtype == "qs8":
        made, tensors = quantize(made, tensors)
    assert made == config
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.gguf"
        model_file.write(path, made, TOKENS[: config.vocab], frozenset(), tensors)
        section = b""
        if said:
            (Path(folder) / "said.phrases").write_text(said)
            phrases = load(Path(folder) / "said.phrases")
            tokens = Tokens(TOKENS[: config.vocab], frozenset(), config.blank)
            section = pack(phrases, phrases.compile(tokens), (2.0, 1.0, 0.25, 0.5))
        return flash_image.build(model_file.read(path), phrases=section)


def _random_model(config: AnyConfig) -> tuple[AnyConfig, dict[str, np.ndarray]]:
    """In float32, whatever the config says."""
    if isinstance(config, wav2vec2.Config):
        plain = replace(config, dtype="f32")
        return plain, random_tensors(plain, 7)
    state = random_state_dict(config, 7)
    if config.max_frames:
        # The last bit of a sinusoid is the C library's choice.
        for name in ("positional_encoder.pe", "decoder_positions.pe"):
            if name in state:
                state[name] = Stream(7)(*state[name].shape)
    front_end = ("frontend", "n_fft", "win_length", "hop_length", "pad", "chunk", "left", "conv",
                 "positions", *aed.DEFAULT_TOKENS)
    return convert_state_dict(
        state, heads=config.heads, extras={
            name: getattr(config, name) for name in front_end if hasattr(config, name)})


def stream(memory: int, frames: Sequence[tuple[Type, Body]]) -> bytes:
    """What frames.c takes: the port's bytes beyond the least, then what the host sends."""
    sent = (Frame(type, number, body.encode()).encode()
            for number, (type, body) in enumerate(frames, start=1))
    return struct.pack("<I", memory) + b"".join(sent)


def frame_seeds() -> Iterator[tuple[str, bytes]]:
    """A conversation for every op, some about models, and one about what is refused."""
    hello, bye = (Type.HELLO, Body("", {"protocol": 1})), (Type.BYE, Body())
    by_op: dict[str, list[Body]] = {}
    for vector in op_vectors():
        body = Body(vector.op, vector.parameters, vector.inputs)
        by_op.setdefault(vector.op, []).append(body)
    for op, bodies in by_op.items():
        most = max(len(body.tensors) for body in bodies)  # with what is optional
        bodies = [body for body in bodies if len(body.tensors) == most]
        sizes = [sum(tensor.nbytes for tensor in body.tensors.values()) for body in bodies]
        best = min(range(len(bodies)), key=lambda i: (sizes[i] < LEAST_BYTES, sizes[i]))
        yield f"op-{op}", stream(1 << 17, [hello, (Type.CASE, bodies[best]), bye])
    samples = (Stream(3)(400) * np.float32(20000)).astype(np.int16)
    features = Stream(4)(30, TINY.mels)
    for name in ("f32-mel", "qs8-logmel"):
        data = np.frombuffer(image(IMAGES[name]), np.int8)
        conversation = [
            hello, (Type.MODEL, Body("0" * 64, {}, {"image": data})),
            (Type.CASE, Body("features", {}, {"samples": samples})),
            (Type.CASE, Body("exits", {"exits": 2}, {"features": features})),
            (Type.CASE, Body("decide", {"threshold": 0.1}, {"features": features})),
            (Type.CASE, Body("transcribe", {"exit": 2}, {"samples": samples})), bye]
        yield f"model-{name}", stream(1 << 17, conversation)
        # Memory that ends where the model ends, where a port once went on.
        plan = device_plan(IMAGES[name], TOKENS[: TINY.vocab], frozenset(), 0.02)
        model = -(-plan["model"][-1] // 64) * 64
        end = len(data) + model - LEAST_MEMORY
        yield f"model-{name}-up-to-the-end", stream(end, conversation)
        yield f"model-{name}-up-to-part-of-a-line", stream(end + 36, conversation)
    log_probs = Stream(6)(3, TINY.vocab, low=-6.0, high=0.0)
    yield "refusals", stream(1 << 17, [
        hello, (Type.MODEL, Body("0" * 64, {}, {"image": data})),
        (Type.CASE, Body("image_status", {"exits": 1, "offset": 64, "memory": -1},
                         {"image": data})),
        (Type.CASE, Body("session_status", {"arena": -1, "offset": 32}, {"features": features})),
        (Type.CASE, Body("samples_status", {}, {"samples": samples})),
        (Type.CASE, Body("log_probs_status", {}, {"log_probs": log_probs})), bye])


def model_seeds() -> Iterator[tuple[str, bytes]]:
    """What model.c takes: words of a configuration, of a session, and lies about tensors."""
    full, chunks, causal = (0, 0, 0, 0), (3, 4, 2, 1), (2, 5, 1, 0)
    encoder = 6 | 2 << 4 | 4 << 6 | 3 << 9 | 3 << 15
    for dtype in (0, 1):
        for name, view, sizes in (
            ("small", full, (2, 8, 2, 9, 3, 5, 3, 3, 2, 12, 40)),
            ("tiles", full, (1, 33, 3, 65, 5, 17, 7, 3, 2, 40, 150)),
            ("one", full, (1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1)),
            ("wide", full, (1, 48, 4, 96, 31, 32, 8, 4, 3, 9, 80)),
            ("chunks", chunks, (3, 8, 2, 9, 5, 5, 3, 3, 2, 0, 200)),
            ("causal", causal, (2, 8, 2, 9, 3, 5, 3, 3, 2, 40, 120)),
            ("parallel", full, (3, 8, 2, 9, 3, 5, 3, 3, 2, 40, 150)),
            ("decoder", full, (2, 8, 2, 9, 3, 5, 3, 3, 2, 40, 60)),
            ("zipformer", full, (4, 8, 2, 9, 3, 5, 3, 3, 2, 40, 150)),
            ("lstm", full, (2, 8, 2, 9, 3, 5, 3, 3, 2, 40, 150)),
            ("samples", (0, 0, 0, 1), (2, 8, 2, 9, 4, 5, 1, 3, 2, 0, 100)),
            ("distances", (0, 0, 0, 1), (2, 8, 2, 9, 4, 5, 1, 3, 2, 0, 100)),
        ):
            exits, *rest, frames = sizes
            # The last word also says which exits of a Splitformer have a parallel layer, of
            # decoders 2 layers, 5 positions, the labels 1, 2 and 3, of LSTMs 2 of width 5, and of
            # a feature encoder 6 channels, kernels 4 and 3 with strides of 2, and in what follows
            # 2 groups; that of "distances" has biases and layer norms, and layers are pre-norm.
            architecture, values = {
                "parallel": (2, 0b101), "decoder": (8, 2 + 4 * 5 + 32 * 1 + 256 * 2 + 2048 * 3),
                "zipformer": (5, 0), "lstm": (6, 5 << 4 | 2), "samples": (3, encoder),
                "distances": (4, encoder | 7 << 18 | 1 << 21 | 20 << 22),
            }.get(name, (1, 0))
            layers = 4 if name == "zipformer" else 1
            words = [exits, *rest, 0x3727C5AC, dtype, *view, architecture, *[layers] * 4, frames, 0,
                     values]
            yield f"{'qs8' if dtype else 'f32'}-{name}", struct.pack(f"<{len(words)}I", *words)


def frontend_seeds() -> Iterator[tuple[str, bytes]]:
    """What frontend.c takes: words of a front end and of a call, then samples."""
    samples = Stream(5)(300) * np.float32(0.5)
    for name, sizes in {
        "mel": (3, 16, 12, 10, 0, 0), "logmel": (5, 64, 50, 16, 7, 0x358637BD),
        "least": (1, 4, 1, 1, 0, 0x358637BD), "long": (20, 512, 400, 160, 80, 0x358637BD),
        "samples": (1, 1, 1, 1, 0, 0), "waveform": (1, 1, 1, 1, 0, 0),
    }.items():
        for kind, data in enumerate((samples, (samples * np.float32(32767)).astype(np.int16))):
            tables = 3 if name == "waveform" else 1
            words = struct.pack("<10I", *sizes, kind, 0, 1 << 16, tables)
            yield f"{name}-{'s16' if kind else 'f32'}", words + data.tobytes()


def decode_seeds() -> Iterator[tuple[str, bytes]]:
    """What decode.c takes: words about a call, then log-probabilities."""
    for rows, vocab in ((1, 2), (12, 5), (40, 17)):
        log_probs = Stream(rows)(rows, vocab, low=-9.0, high=0.0)
        words = struct.pack("<8I", vocab, 0, rows, 12, 7, 1, 0x3F000000, 2)
        yield f"{rows}-{vocab}", words + log_probs.tobytes()


def packed_seeds() -> Iterator[tuple[str, bytes]]:
    """What packed.c takes: words about a search, then the section of phrases of a flash image."""
    letters = Tokens(("<blank>", "\u2581", *string.ascii_uppercase, "'"), frozenset({0}), 0)
    rover = load(CORPUS.parent.parent / "phrases" / "rover.phrases")
    for name, phrases, tokens in (
        ("letters", rover, letters),
        ("wide", rover, Tokens((*letters, *map(str, range(300))), frozenset({0}), 0)),
    ):
        section = pack(phrases, phrases.compile(tokens), (2.0, 1.0, 0.25, 0.5))
        yield name, struct.pack("<4I", 5, 7, 1, 0) + section


def stream_seeds() -> Iterator[tuple[str, bytes]]:
    """What stream.c takes: words about a stream, then a flash image."""
    limited = replace(TINY, chunk=3, left=4, conv="chunk", positions="none", max_frames=0)
    words = (4, 3, 2, 9, 3, 20, 0, 1, 0x3DCCCCCD, 0xBF800000, 5000, 160, 0)
    for name, config, said in (
        ("f32-windows", replace(TINY, pad=5), ""),
        ("qs8-windows", replace(TINY, dtype="qs8"), ""),
        ("qs8-chunks", replace(limited, dtype="qs8", pad=40), ""),
        ("qs8-phrases", replace(TINY, dtype="qs8"), "one: a b\ntwo: ab {s = a | b}\n"),
    ):
        yield name, struct.pack("<13I", *words) + image(config, said)


def seeds() -> Iterator[tuple[str, bytes]]:
    """Path in the corpus -> bytes, of every seed."""
    for name, config in IMAGES.items():
        yield f"image/{name}", image(config)
    for target, made in (("frames", frame_seeds()), ("model", model_seeds()),
                         ("frontend", frontend_seeds()), ("decode", decode_seeds()),
                         ("packed", packed_seeds()), ("stream", stream_seeds())):
        for name, data in made:
            yield f"{target}/{name}", data


if __name__ == "__main__":
    for path, data in seeds():
        target = Path(sys.argv[1] if len(sys.argv) > 1 else CORPUS) / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
