"""Rows of log-probabilities from the rows that have come: exit 1 first, deeper where it hears."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from ..checks import check_count
from ..config import Config
from ..encoder import Encoder, ExitOutput
from ..exits import AnyPolicy, Decision, Observation
from ..exits.policy import as_policy, needs_phrases, needs_scores
from ..families.conformer import reach
from .gate import ROWS_BESIDE, ROWS_QUIET, Gate
from .signal import Signal, frames_of_row

if TYPE_CHECKING:
    from ..model import Model, Run

PAUSE_ROWS = 20
"""Blank rows at the end of a block over which windows no longer look back: what another speaker
said, or another command, costs more words than it saves, and silence costs work."""
KEPT_ROWS = 24
"""Rows before the end of such a block that windows still begin with: a word wants to be heard with
the silence ahead of it."""
SEAM_ROWS = 6
"""Blank rows that are left to the next block at most: of a longer pause more would be computed
twice and say nothing."""
HELD_ROWS = 16
"""Rows after a label in which deeper groups go on, whether exit 1 hears anything or not."""


@dataclass(frozen=True)
class Windows:
    """A full view in windows: `left` rows of the past, `hop` that are decided, `ahead` after them.

    A row is final when up to hop + ahead rows have come, and costs (left + hop + ahead) / hop rows.
    """

    left: int
    hop: int
    ahead: int

    def __post_init__(self) -> None:
        check_count("left", self.left, 0)
        check_count("hop", self.hop, 1)
        check_count("ahead", self.ahead, 0)

    @property
    def rows(self) -> int:
        """Of a whole window."""
        return self.left + self.hop + self.ahead

    def within(self, most: int) -> Windows:
        """The same in proportion, of at most so many rows; 0: of any number."""
        if not 0 < most < self.rows:
            return self
        parts = (most * part // self.rows for part in (self.left, self.hop, self.ahead))
        left, hop, ahead = parts
        return Windows(left, max(1, hop), ahead)


@dataclass(frozen=True)
class Chunks:
    """A limited view: a row sees those of its chunk of `chunk` rows and the `left` ones before."""

    chunk: int
    left: int

    def __post_init__(self) -> None:
        check_count("chunk", self.chunk, 1)
        check_count("left", self.left, 0)


LIVE = Windows(left=96, hop=6, ahead=10)
"""What a stream takes for a full view: a row is final when 0.64 s have come, at 25 rows a second.
docs/streaming.md has what others give."""
PHRASES = Windows(left=48, hop=40, ahead=16)
"""What a stream takes for phrases: they are searched for when an utterance is over, which it often
is before so many rows have come."""
LONG = Windows(left=64, hop=300, ahead=48)
"""What `Model.transcribe` takes for long recordings: where latency does not count."""


@dataclass
class Work:
    """What a stream has computed.

    rows: of the stream, final ones. exits: how many of them come from exit 1, 2, ...; the others
    were outside of all runs. multiply_accumulates: of the encoder, with all that was computed more
    than once or caught up with.
    """

    rows: int = 0
    exits: list[int] = field(default_factory=list)
    multiply_accumulates: int = 0


class Block(NamedTuple):
    """Rows that are decided.

    first: of the rows of log_probs (rows, vocab), of which the first `final` stay; those behind
    them will come again. exit: the one that they come from; 0 for rows outside of runs, of which
    there are no log-probabilities.
    """

    first: int
    final: int
    exit: int
    log_probs: np.ndarray


_NOTHING = np.zeros((0, 0), np.float32)


class _Ear:
    """A policy that stops at exit 1 where nothing is heard in the rows from `begin` on."""

    def __init__(self, policy: AnyPolicy, begin: int, held: bool) -> None:
        self._policy, self._begin, self._held = as_policy(policy), begin, held
        self.needs_scores, self.needs_phrases = needs_scores(policy), needs_phrases(policy)

    def decide(self, at: Observation, state: Any) -> tuple[Decision, Any]:
        decision, state = self._policy.decide(at, state)
        if at.exit == 1 and not self._held:
            labels = at.log_probs[self._begin :].argmax(axis=1)
            if (labels == at.utterance.blank).all():
                return decision._replace(stop=True), state
        return decision, state


class _View(Protocol):
    """One of the two ways to hear a run."""

    reach: int
    """Rows before a block that it is heard with."""

    def begin(self, row: int) -> None:
        """A run begins."""
        ...

    def due(self, block: int) -> int:
        """How many rows must have come before the block that begins at this row is decided."""
        ...

    def hear(self, block: int, end: int, is_last: bool, held: bool) -> tuple[Block, int]:
        """The block, and the multiply-accumulates that it took.

        end: what is due, or the end of the run when it is the last block.
        held: whether a label was heard lately.
        """
        ...


Follow = Callable[[Iterable[ExitOutput], int, AnyPolicy], "Run"]
"""`Model.follow` with what it needs besides: (outputs, frames of features, policy) -> `Run`."""


class _InWindows:
    def __init__(self, encoder: Encoder, signal: Signal, policy: AnyPolicy, follow: Follow,
                 view: Windows) -> None:
        self._encoder, self._signal, self._policy, self._follow = encoder, signal, policy, follow
        self._view = view
        self.reach = view.left
        self._begin = 0

    def begin(self, row: int) -> None:
        self._begin = row

    def due(self, block: int) -> int:
        return block + self._view.hop + self._view.ahead

    def hear(self, block: int, end: int, is_last: bool, held: bool) -> tuple[Block, int]:
        view, config = self._view, self._encoder.config
        start = max(block - view.left, self._begin)
        features = self._signal.features(start, end)
        run = self._follow(self._encoder.exits(features), len(features),
                           _Ear(self._policy, block - start, held))
        log_probs = run.out.log_probs[block - start :]
        final = end - block
        if not is_last:
            final, pause = _seam(log_probs.argmax(axis=1) == config.blank, view)
            if pause >= PAUSE_ROWS:
                self._begin = max(self._begin, block + final - KEPT_ROWS)
        return (Block(block, final, run.out.exit, log_probs),
                config.costs(len(features))[run.out.exit - 1])


def _seam(blank: np.ndarray, view: Windows) -> tuple[int, int]:
    """Where a block may end: behind so many of its rows, in the middle of the longest pause near
    its end, the first of equals, or SEAM_ROWS before the end of that; and how long it is.

    blank: (rows,) whether the best label is the blank.
    """
    low, high = view.hop // 2, view.hop + view.ahead // 4
    final, longest, length = view.hop, 0, 0
    for row in range(low, high):
        length = length + 1 if blank[row] else 0
        if length > longest:
            longest, final = length, row + 1 - min(length // 2, SEAM_ROWS)
    return max(1, final), longest


class _InChunks:
    def __init__(self, encoder: Encoder, signal: Signal, policy: AnyPolicy, follow: Follow) -> None:
        self._encoder, self._signal, self._policy, self._follow = encoder, signal, policy, follow
        config: Any = encoder.config  # of a family with chunks
        self.reach = 0
        # Of a group, for a row in the middle of a run; and rows before a block that it depends on.
        self._costs = _row_costs(config)
        self._reaches = [config.chunk * reach(config) * sum(config.layers_per_exit[group:])
                         for group in range(config.exits)]
        self._missed = [0] * config.exits
        self._begin = 0
        self._session: Any = None  # of a run

    def begin(self, row: int) -> None:
        config = self._encoder.config
        self._begin = row
        # With the frames that the last row of a chunk has beyond those of its own.
        self._session = self._encoder.start(config.stride * config.chunk + self._signal.window)
        self._missed = [0] * config.exits

    def due(self, block: int) -> int:
        return block + self._encoder.config.chunk

    def hear(self, block: int, end: int, is_last: bool, held: bool) -> tuple[Block, int]:
        config, session = self._encoder.config, self._session
        features = self._signal.features(block, end)
        # Those before came with the block before.
        fed = 0 if block == self._begin else self._signal.window - config.stride
        session.feed(np.ascontiguousarray(features[fed:]), last=is_last)
        run = self._follow(session.exits(), len(features), _Ear(self._policy, 0, held))
        rows, exit = end - block, run.out.exit
        cost = 0
        for group, (price, seen) in enumerate(zip(self._costs, self._reaches)):
            if group < exit:
                cost += price * (rows + self._missed[group])
                self._missed[group] = 0
            else:
                self._missed[group] = min(self._missed[group] + rows, seen)
        return Block(block, rows, exit, run.out.log_probs), cost


def _row_costs(config: Config) -> list[int]:
    """Multiply-accumulates of each group with its head for a row that sees all of its view."""
    rows = config.left + config.chunk
    frames = config.stride * (-(-rows // config.chunk) * config.chunk)
    window = frames_of_row(config) - config.stride
    more = frames + config.stride * config.chunk
    totals = [(after - before) // config.chunk for before, after in zip(
        config.costs(frames + window), config.costs(more + window))]
    return [total - before for before, total in zip([0, *totals], totals)]


class Hearing:
    """Blocks of a stream, in order, as its rows come; docs/streaming.md says which.

    model: whose encoder, front end and loop over exits are used. view: windows, of no more rows
    than the model admits, or chunks. how: of `Model.follow`.
    """

    def __init__(self, model: Model, policy: AnyPolicy, view: Windows | Chunks, **how: Any) -> None:
        config = model.config
        self.signal = Signal(config, model.front_of_padded)
        self.work = Work(exits=[0] * config.exits)
        self._blank = config.blank
        self._gate = Gate(config.stride * config.hop_length)
        follow = partial(model.follow, **how)
        encoder = model.encoder_of(view)
        self._view: _View = (
            _InChunks(encoder, self.signal, policy, follow) if isinstance(view, Chunks) else
            _InWindows(encoder, self.signal, policy, follow, view))
        self._rows = 0  # that have passed the gate
        self._block = 0  # where the next block begins
        self._in_run = False
        self._begin = 0  # of the run
        self._quiet = 0  # rows since the last loud one
        self._last_label = -HELD_ROWS - 1  # the last final row with a label

    def feed(self, samples: np.ndarray) -> Iterator[Block]:
        """The blocks that finite float32 samples decide."""
        return self._blocks(self.signal.feed(samples))

    def finish(self) -> Iterator[Block]:
        """The blocks that are left when no more samples come."""
        yield from self._blocks(self.signal.finish())
        if self._in_run:
            yield from self._run_ended()
        yield from self._unheard(self._rows)

    def _blocks(self, powers: Iterable[int]) -> Iterator[Block]:
        for power in powers:
            loud = self._gate(power)
            self._rows += 1
            if not self._in_run:
                if loud:
                    yield from self._unheard(self._rows - 1 - ROWS_BESIDE)
                    self._in_run, self._quiet, self._begin = True, 0, self._block
                    self._view.begin(self._begin)
            else:
                self._quiet = 0 if loud else self._quiet + 1
            if self._in_run and self._quiet == ROWS_QUIET:
                yield from self._run_ended()
            while self._in_run and (due := self._view.due(self._block)) <= self._rows:
                yield self._heard(due, is_last=False)
        if not self._in_run:
            yield from self._unheard(self._rows - ROWS_BESIDE)

    def _run_ended(self) -> Iterator[Block]:
        """The last block of a run, if any of its rows are left."""
        end = self._rows - max(0, self._quiet - ROWS_BESIDE)
        if self._block < end:
            yield self._heard(end, is_last=True)
        self._in_run = False

    def _heard(self, end: int, is_last: bool) -> Block:
        held = self._block - self._last_label <= HELD_ROWS
        block, cost = self._view.hear(self._block, end, is_last, held)
        self._block += block.final
        labels = block.log_probs[: block.final].argmax(axis=1) != self._blank
        if labels.any():
            self._last_label = block.first + int(np.flatnonzero(labels)[-1])
        self.work.rows += block.final
        self.work.exits[block.exit - 1] += block.final
        self.work.multiply_accumulates += cost
        self.signal.forget(max(self._begin, self._block - self._view.reach))
        return block

    def _unheard(self, end: int) -> Iterator[Block]:
        """Rows outside of runs, if any are left."""
        if self._block < end:
            block = Block(self._block, end - self._block, 0, _NOTHING)
            self.work.rows += block.final
            self._block = end
            self.signal.forget(end)
            yield block
