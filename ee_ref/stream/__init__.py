"""Streams of any length: samples in, events out (docs/streaming.md is the contract).

    samples -> signal -> gate -> hearing (exit 1, deeper groups) -> speech -> events

`Stream` joins them; `Model.stream` makes one.
"""

from .event import Event
from .hearing import LIVE, LONG, PHRASES, Chunks, Windows, Work
from .speech import Endpoint
from .stream import Stream

__all__ = ["Chunks", "Endpoint", "Event", "LIVE", "LONG", "PHRASES", "Stream",
           "Windows", "Work"]
