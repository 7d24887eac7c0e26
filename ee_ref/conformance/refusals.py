"""The tier "status": what a port has to refuse, by which name, and what it must not.

Each case differs in one thing from what is right, and is answered by the name of an `ee_status` of
kernels/include/ee.h (docs/conformance.md, "Refusals").
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from weights_io.gguf import align

from .. import flash_image
from ..flash_image import ALIGNMENT, HEADER_BYTES, Kind, contents, reassembled, resealed
from .draw import Stream
from .judge import EXACT, Bound
from .vector import Parameter, Vector

if TYPE_CHECKING:
    from ..families.conformer import Config
    from .suite import Reference

TIER = "status"
NAME = Bound(EXACT, 0.0, "a status is a name")


def faulty_config(config: Config) -> Config:
    """The shape of the model whose image is made faulty: its images are sent many times."""
    return dataclasses.replace(
        config, layers_per_exit=(1, 1, 1), dim=8, heads=2, ff=9, kernel=3, vocab=5, max_frames=8,
        mels=4, n_fft=64, win_length=48, hop_length=32, pad=16)


def _vector(op: str, name: str, status: str, tensor: str, values: np.ndarray,
            parameters: dict[str, Parameter], model: str = "") -> Vector:
    expected = {"status": np.frombuffer(status.encode(), np.int8)}
    return Vector(f"{TIER}/{op}/{name}", TIER, op, {tensor: values}, expected, {"status": NAME},
                  parameters, model)


def refusal_vectors(image: bytes, model: Reference) -> Iterator[Vector]:
    """All of them. image: of `faulty_config`, with three exits; model: an int8 one."""
    for name, status, data, parameters in _images(image):
        yield _vector("image_status", name, status, "image", np.frombuffer(data, np.int8),
                      parameters)
    mels, max_frames = model.config.mels, model.config.max_frames
    longest = next(n for n in range(10 * max_frames, 0, -1)
                   if model.config.encoder_frames(n) == max_frames)
    for name, status, features, parameters in _sessions(mels, longest):
        yield _vector("session_status", name, status, "features", features, parameters, model.name)
    for name, status, samples in _samples():
        yield _vector("samples_status", name, status, "samples", samples, {}, model.name)
    for name, status, log_probs in _log_probs(model.config.vocab):
        yield _vector("log_probs_status", name, status, "log_probs", log_probs, {}, model.name)


# ---- Images ----


class _Image(NamedTuple):
    name: str
    status: str
    data: bytes
    parameters: dict[str, Parameter] = {}


def _changed(image: bytes, at: int, data: bytes) -> bytes:
    at %= len(image)
    return image[:at] + data + image[at + len(data) :]


def _flipped(image: bytes, at: int) -> bytes:
    return _changed(image, at, bytes([image[at] ^ 1]))


def _images(image: bytes) -> Iterator[_Image]:
    yield from _whole_images(image)
    yield from _damaged_images(image)
    yield from _lying_headers(image)
    yield from _lying_tables(image)


def _whole_images(image: bytes) -> Iterator[_Image]:
    """Images that are right, as far as they go."""
    first, second, whole = flash_image.header(image).exit_ends
    base = flash_image.header(image).sections[-3].offset
    yield _Image("whole", "EE_OK", image)
    yield _Image("first_exit", "EE_OK", image[:first])
    yield _Image("one_exit_of_three", "EE_OK", image, {"exits": 1})
    yield _Image("one_exit_and_part_of_the_next", "EE_OK", image[: second - ALIGNMENT],
                 {"exits": 1})
    yield _Image("damaged_behind_the_exits_wanted", "EE_OK", _flipped(image, -100), {"exits": 2})
    yield _Image("four_exits_of_three", "EE_ERR_IMAGE_EXITS", image, {"exits": 4})
    yield _Image("two_exits_of_one", "EE_ERR_IMAGE_EXITS", image[:first], {"exits": 2})
    for name, size in (("no_bytes", 0), ("part_of_the_header", 1000), ("header", HEADER_BYTES),
                       ("no_exit", base), ("one_line_less", whole - ALIGNMENT),
                       ("one_byte_less", whole - 1)):
        yield _Image(f"only_{name}", "EE_ERR_IMAGE_TRUNCATED", image[:size])
    yield _Image("one_line_more", "EE_ERR_IMAGE_TRUNCATED", image + bytes(ALIGNMENT))
    yield _Image("two_exits_of_less", "EE_ERR_IMAGE_TRUNCATED", image[: second - ALIGNMENT],
                 {"exits": 2})
    for offset in (1, 16, 32):
        yield _Image(f"at_{offset}", "EE_ERR_ALIGNMENT", image, {"offset": offset})
    yield _Image("at_64", "EE_OK", image, {"offset": 64})
    yield _Image("memory_one_byte_short", "EE_ERR_MODEL_TOO_SMALL", image, {"memory": -1})
    yield _Image("memory_one_byte_more", "EE_OK", image, {"memory": 1})
    parts = contents(image)
    unknown = (99, bytes(range(ALIGNMENT)))
    yield _Image("section_of_another_kind", "EE_OK",
                 reassembled(image, [unknown, *parts[:2], unknown, *parts[2:]]))
    yield _Image("sections_in_another_order", "EE_OK",
                 reassembled(image, [*parts[2::-1], *parts[3:]]))


def _damaged_images(image: bytes) -> Iterator[_Image]:
    """Other bytes under checksums that tell, or of another kind of file."""
    yield _Image("other_magic", "EE_ERR_IMAGE_MAGIC", _changed(image, 0, b"GGUF"))
    yield _Image("other_byte_order", "EE_ERR_IMAGE_MAGIC", _changed(image, 0, image[3::-1]))
    yield _Image("abi_0", "EE_ERR_IMAGE_ABI", _changed(image, 4, struct.pack("<I", 0)))
    yield _Image("abi_99", "EE_ERR_IMAGE_ABI", _changed(image, 4, struct.pack("<I", 99)))
    sections = flash_image.header(image).sections
    places = {"header_checksum": 8, "header": 40, "header_zeros": HEADER_BYTES - 1,
              **{f"{Kind(section.kind).name.lower()}": section.offset + 1
                 for section in sections[:4]},
              "last_exit": len(image) - 100, "last_byte": len(image) - 1}
    for name, at in places.items():
        yield _Image(f"damaged_{name}", "EE_ERR_IMAGE_CHECKSUM", _flipped(image, at))
    unknown = reassembled(image, [(99, bytes(ALIGNMENT)), *contents(image)])
    yield _Image("damaged_unknown", "EE_ERR_IMAGE_CHECKSUM", _flipped(unknown, HEADER_BYTES))


def _lying_headers(image: bytes) -> Iterator[_Image]:
    """Sizes that contradict each other, or that no model has; every checksum is right."""
    header = flash_image.header(image)
    layers = header.layers_per_exit
    layout: dict[str, dict[str, Any]] = {
        "header_bytes": {"header_bytes": 1024},
        "exits_0": {"exits": 0}, "exits_2": {"exits": 2}, "exits_4": {"exits": 4},
        "blank_is_no_label": {"blank": header.vocab},
        "two_layers": {"layers_per_exit": (2, *layers[1:])},
        "ff": {"ff": header.ff + 16}, "max_frames": {"max_frames": header.max_frames + 1},
        "vocab": {"vocab": header.vocab + 16},
        "no_positions": {"positions": 1, "max_frames": 0},
    }
    config: dict[str, dict[str, Any]] = {
        "architecture_0": {"architecture": 0}, "architecture_99": {"architecture": 99},
        "dim_0": {"dim": 0}, "dim_of_31_bits": {"dim": 1 << 31}, "heads_0": {"heads": 0},
        "heads_do_not_divide_dim": {"heads": 3}, "ff_0": {"ff": 0}, "kernel_0": {"kernel": 0},
        "kernel_even": {"kernel": 4}, "vocab_0": {"vocab": 0}, "stem_stride_0": {"stem_stride": 0},
        "max_frames_0": {"max_frames": 0}, "positions_and_none": {"positions": 1},
        "positions_2": {"positions": 2}, "conv_3": {"conv": 3}, "left_alone": {"left": 4},
        "chunk_that_the_convolution_leaves": {"chunk": 4},
        "convolution_of_chunks_alone": {"conv": 2}, "dtype_2": {"dtype": 2},
        "eps_0": {"norm_eps": 0.0}, "eps_nan": {"norm_eps": float("nan")},
        "eps_below_2_to_minus_40": {"norm_eps": 2.0**-41},
        "frontend_2": {"frontend": 2}, "floor_of_mel": {"frontend": 0},
        "no_floor": {"log_floor": 0.0}, "log_floor_nan": {"log_floor": float("nan")},
        "log_floor_below_2_70": {"log_floor": 2.0**-71},
        "n_fft_no_power_of_two": {"n_fft": 48}, "hop_length_0": {"hop_length": 0},
        "layers_0": {"layers_per_exit": (0, *layers[1:])},
        "layers_65": {"layers_per_exit": (65, *layers[1:])},
    }
    for status, lies in (("EE_ERR_IMAGE_LAYOUT", layout), ("EE_ERR_CONFIG", config)):
        for name, fields in lies.items():
            yield _Image(f"lies_{name}", status, resealed(image, **fields))


def _lying_tables(image: bytes) -> Iterator[_Image]:
    """Sections elsewhere, of other sizes, or with impossible numbers; every checksum is right."""
    header, parts = flash_image.header(image), contents(image)
    layout = {
        "frontend": parts[1:], "labels": [parts[0], *parts[2:]], "stem": [*parts[:2], *parts[3:]],
        "last_exit": parts[:-1], "two_frontends": [parts[0], *parts],
        "exit_before_the_stem": [*parts[:2], parts[3], parts[2], *parts[4:]],
        **{f"{Kind(kind).name.lower()}_a_line_{name}": [
            *parts[:number], (kind, content), *parts[number + 1 :]]
           for number, (kind, whole) in enumerate(parts[:4])
           for name, content in (("more", whole + bytes(ALIGNMENT)), ("less", whole[:-ALIGNMENT]))},
    }
    for name, sections in layout.items():
        without = "without_" if name in ("frontend", "labels", "stem", "last_exit") else ""
        yield _Image(f"section_{without}{name}", "EE_ERR_IMAGE_LAYOUT",
                     reassembled(image, sections))
    first = header.sections[0]
    for name, lie in {"in_the_header": {"offset": 0}, "off_a_line": {"offset": first.offset + 4},
                      "behind_a_gap": {"offset": first.offset + ALIGNMENT},
                      "of_part_of_a_line": {"bytes": first.bytes - 4}, "empty": {"bytes": 0},
                      "to_the_end_of_32_bits": {"bytes": 0xFFFFFFC0}}.items():
        yield _Image(f"section_{name}", "EE_ERR_IMAGE_LAYOUT", resealed(
            image, sections=(first._replace(**lie), *header.sections[1:])))
    yield _Image("section_count_0", "EE_ERR_IMAGE_LAYOUT",
                 resealed(image, section_count=0, sections=()))
    yield _Image("section_count_of_32_bits", "EE_ERR_IMAGE_LAYOUT",
                 resealed(image, section_count=0xFFFFFFFF))
    labels = header.sections[1].offset
    yield _Image("labels_end_before_they_begin", "EE_ERR_IMAGE_LAYOUT", resealed(
        _changed(image, labels + 4, struct.pack("<I", 0xFFFFFFFF))))
    yield _Image("labels_end_behind_their_section", "EE_ERR_IMAGE_LAYOUT", resealed(
        _changed(image, labels + 4 * (header.vocab - 1), struct.pack("<I", 65))))
    filters = first.offset + align(4 * header.win_length, ALIGNMENT) + align(
        4 * header.n_fft, ALIGNMENT)
    yield _Image("mel_filter_beyond_the_spectrum", "EE_ERR_CONFIG", resealed(
        _changed(image, filters, struct.pack("<H", 0xFFFF))))


# ---- Utterances ----


def _with(values: np.ndarray, at: int, value: float) -> np.ndarray:
    changed = values.copy()
    changed.reshape(-1)[at] = value
    return changed


BAD = {"nan": np.nan, "inf": np.inf, "minus_inf": -np.inf}
"""Numbers that are none."""


def _sessions(mels: int, longest: int) -> Iterator[tuple[str, str, np.ndarray, dict]]:
    features = Stream(70)(30, mels, low=-2.0, high=2.0)
    yield "good", "EE_OK", features, {}
    yield "no_features", "EE_OK", features[:0], {}
    yield "longest", "EE_OK", Stream(71)(longest, mels), {}
    yield ("one_frame_too_many", "EE_ERR_TOO_MANY_FRAMES", Stream(71)(longest + 1, mels), {})
    yield "largest_numbers", "EE_OK", np.full_like(features, np.finfo(np.float32).max), {}
    for name, value in BAD.items():
        for where, at in (("first", 0), ("middle", 3 * mels + 2), ("last", -1)):
            yield f"{name}_{where}", "EE_ERR_NOT_FINITE", _with(features, at, value), {}
    for name, rows in (("arena", features), ("no_features_arena", features[:0])):
        yield f"{name}_one_byte_short", "EE_ERR_ARENA_TOO_SMALL", rows, {"arena": -1}
        yield f"{name}_one_byte_more", "EE_OK", rows, {"arena": 1}
    yield "fed_after_the_end", "EE_ERR_ENDED", features, {"again": 1}
    for offset in (4, 32):
        yield f"arena_at_{offset}", "EE_ERR_ALIGNMENT", features, {"offset": offset}


def _samples() -> Iterator[tuple[str, str, np.ndarray]]:
    samples = Stream(72)(4000) * np.float32(0.3)
    yield "good", "EE_OK", samples
    yield "no_samples", "EE_OK", samples[:0]
    yield "int16", "EE_OK", (samples * np.float32(32768)).astype(np.int16)
    for name, value in BAD.items():
        for where, at in (("first", 0), ("middle", 1234), ("last", -1)):
            yield f"{name}_{where}", "EE_ERR_NOT_FINITE", _with(samples, at, value)
    yield "power_overflows", "EE_ERR_NOT_FINITE", samples * np.float32(1e30)


def _log_probs(vocab: int) -> Iterator[tuple[str, str, np.ndarray]]:
    log_probs = Stream(73)(9, vocab, low=-6.0, high=-0.5)
    yield "good", "EE_OK", log_probs
    yield "no_frames", "EE_OK", log_probs[:0]
    yield "minus_inf", "EE_OK", _with(log_probs, 5, -np.inf)
    yield "rounded_above_zero", "EE_OK", _with(log_probs, 5, 2.0**-11)
    for name, value in (("nan", np.nan), ("inf", np.inf), ("above_zero", 2.0**-9),
                        ("logit", 12.0)):
        for where, at in (("first", 0), ("last", -1)):
            yield f"{name}_{where}", "EE_ERR_NOT_FINITE", _with(log_probs, at, value)
