"""A flash image as C source, for firmware that links it instead of loading it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from .flash_image import ALIGNMENT, FlashImage

SYMBOL = "ee_model_image"
_WORDS_PER_LINE = 7

_ARRAY = f"""\
/* A flash image for ee_image_open({SYMBOL}, sizeof {SYMBOL}, ...), written by ee-ref export
 * for little-endian targets. */
#include <stdint.h>

#if defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L
#define EE_ALIGNED _Alignas({ALIGNMENT})
#else
#define EE_ALIGNED __attribute__((aligned({ALIGNMENT})))
#endif

EE_ALIGNED const uint32_t {SYMBOL}[] = {{
"""

_HEADER = """\
/* Sizes of the flash image {name} and of the memory that it needs, written by
 * ee-ref export. Bytes but for EE_PLAN_FRAMES and EE_PLAN_ROWS. */
#ifndef EE_MODEL_IMAGE_H
#define EE_MODEL_IMAGE_H

#include <stdint.h>

extern const uint32_t {symbol}[{words}];

#define EE_MODEL_CHECKSUM 0x{checksum:08x}u /* of the model file, as ee-ref info prints it */
#define EE_MODEL_EXITS {exits}
#define EE_MODEL_SAMPLE_RATE {rate}u

/* For audio of up to {seconds:g} s; the same for every exit. */
#define EE_PLAN_SAMPLES {samples}u
#define EE_PLAN_FRAMES {frames}u /* of features */
#define EE_PLAN_ROWS {rows}u /* encoder frames */
#define EE_PLAN_FEATURE_BYTES {features}u
#define EE_PLAN_ARENA_BYTES {arena}u /* for the front end, then for the session */
#define EE_PLAN_SEARCH_BYTES {search}u /* for the phrase search; where the features were */
#define EE_PLAN_STACK_BYTES {stack}u /* of the library's own calls */

/* Up to each exit: flash of the image, memory for ee_image_open, and all RAM: that memory,
 * features or search, arena and stack (samples kept in RAM are extra). */
{per_exit}

#endif
"""


def c_array(image: bytes) -> Iterator[bytes]:
    """The image as the definition of a constant array."""
    yield _ARRAY.encode()
    words = np.frombuffer(image, "<u4").tolist()
    for start in range(0, len(words), _WORDS_PER_LINE):
        line = ", ".join(f"0x{word:08x}u" for word in words[start : start + _WORDS_PER_LINE])
        yield f"    {line},\n".encode()
    yield b"};\n"


def c_header(name: str, image: FlashImage, plan: Mapping[str, Any]) -> bytes:
    """The header with the sizes of an image and the plan of its memory.

    plan: `ee_ref.plan.device_plan` of the image's configuration.
    """
    per_exit = [
        f"#define EE_PLAN_{what}_BYTES_EXIT_{exit_} {sizes[exit_ - 1]}u"
        for exit_ in range(1, image.config.exits + 1)
        for what, sizes in (("FLASH", image.exit_sizes), ("MODEL", plan["model"]),
                            ("RAM", plan["peak"]))
    ]
    return _HEADER.format(
        name=name, symbol=SYMBOL, words=image.size // 4, checksum=image.model_checksum,
        exits=image.config.exits, rate=image.config.sample_rate, seconds=plan["seconds"],
        samples=plan["samples"] // 2, frames=plan["frames"], rows=plan["rows"],
        features=plan["features"], arena=max(plan["arena"], plan["frontend"]),
        search=plan["search"], stack=plan["stack"],
        per_exit="\n".join(per_exit),
    ).encode()
