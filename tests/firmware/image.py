"""A flash image on the C library: from samples to text as firmware does it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ee_ref import flash_image
from ee_ref.encoder import ExitOutput
from ee_ref.errors import ModelFileError
from ee_ref.native._arrays import aligned
from ee_ref.native._frontend import extract
from ee_ref.native._lib import ensure, ffi, lib, ops
from ee_ref.native._session import Session, _size
from tests.firmware.decode import greedy, text


class NativeImage:
    """An image of `ee_ref.flash_image.build`, checked and opened by `ee_image_open`.

    exits: open only the first ones; 0 opens all that the image holds. config: with those exits.
    Raises ModelFileError for an image that is damaged or of another version, ArgumentError for more
    exits than it holds.
    """

    def __init__(self, image: bytes, exits: int = 0):
        self._image = aligned(len(image), lib.EE_IMAGE_ALIGNMENT)
        self._image[:] = np.frombuffer(image, np.uint8)
        start = ffi.from_buffer(self._image)
        size = ffi.new("size_t *")
        _ensure_image(lib.ee_image_memory(start, len(image), exits, size))
        self._memory = aligned(size[0], lib.EE_MEMORY_ALIGNMENT)
        self._opened = ffi.new("ee_image *")
        _ensure_image(lib.ee_image_open(self._opened, start, len(image), exits,
                                        ffi.from_buffer(self._memory), size[0], ops()))
        self.config = flash_image.parse(image[: self._opened.bytes]).config
        self.handle = self._opened.model
        self.team = ffi.NULL  # as in firmware: the calling thread alone
        self.memory_bytes = size[0]

    def arena_size(self, frames: int) -> int:
        """Bytes of arena for `frames` mel frames."""
        return _size(lib.ee_arena_size, ffi.addressof(self._opened.config), frames, self.team)

    def features(self, samples: np.ndarray) -> np.ndarray:
        """Features (T, mels) of samples (N,) int16 or float32."""
        return extract(ffi.addressof(self._opened.frontend), samples)

    def exits(self, features: np.ndarray) -> Iterator[ExitOutput]:
        """As `NativeModel.exits`."""
        session = Session(self, len(features))
        session.feed(features, last=True)
        return session.exits()

    def text(self, log_probs: np.ndarray) -> str:
        """The words of the greedy hypothesis."""
        tokens, _ = greedy(log_probs, self._opened.blank)
        return text(ffi.addressof(self._opened.labels), tokens)


def _ensure_image(status: int) -> None:
    if status < 0 and status != lib.EE_ERR_IMAGE_EXITS:
        name = ffi.string(lib.ee_status_name(status)).decode()
        raise ModelFileError(f"{ffi.string(lib.ee_strerror(status)).decode()} ({name})")
    ensure(status)
