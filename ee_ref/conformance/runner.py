"""Asks a port for every case, and says how each ended; whatever the port does is a result."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

import numpy as np

from ..errors import EeError
from .judge import Difference, distances, judge
from .manifest import Model, Vectors
from .protocol import PROTOCOL, Body, Decoder, Frame, ProtocolError, Type
from .transport import PortDied, PortSilent, Transport
from .vector import Vector
from .waivers import Waiver

STATUSES = ("pass", "fail", "waived", "unsupported", "timeout", "died", "protocol")
BAD_FRAME = 1
"""The code of the ERROR that asks for a frame again."""
ATTEMPTS = 3
RESTARTS = 3
"""Failed starts, one after another, after which the rest is not tried."""


class PortError(EeError, OSError):
    """A port that never said HELLO, or speaks another protocol."""


@dataclass(frozen=True)
class Port:
    """What a port says of itself. ops, models: what it can do and has built in."""

    name: str
    version: str = ""
    isa: str = ""
    largest_frame: int = 1 << 28
    ops: frozenset[str] = frozenset()
    models: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Result:
    """How a case ended.

    status: one of STATUSES. message: why, in a line. differences: what the judge found. ulp, db: of
    the worst tensor that is judged by a bound; None where nothing was compared. attempts: frames
    sent. waiver: the reason of the waiver that covers it.
    """

    case: str
    tier: str
    op: str
    status: str
    message: str = ""
    differences: tuple[Difference, ...] = ()
    ulp: float | None = None
    db: float | None = None
    seconds: float = 0.0
    attempts: int = 1
    waiver: str = ""


@dataclass
class Run:
    """The results of a suite on one port."""

    port: Port
    suite_version: int
    results: list[Result] = field(default_factory=list)
    used: set[Waiver] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)

    def count(self, status: str, tier: str | None = None) -> int:
        return sum(r.status == status and tier in (None, r.tier) for r in self.results)

    def failed(self, complete: bool = False) -> bool:
        """Whether anything failed; with `complete`, also whether anything was not done."""
        good = {"pass", "waived"} if complete else {"pass", "waived", "unsupported"}
        return bool(self.problems) or any(r.status not in good for r in self.results)


class _Refused(Exception):
    """A case ends here: with this status and message."""

    def __init__(self, status: str, message: str):
        super().__init__(message)
        self.status, self.message = status, message


class Session:
    """One port, from HELLO to BYE.

    timeout: seconds that one answer may take. gone: why there is no port any more, or "".
    """

    def __init__(self, transport: Transport, timeout: float):
        self.transport, self.timeout = transport, timeout
        self.port = Port("")
        self.gone = ""
        self._sequence = 0
        self._model: str | None = None
        self._decoder = Decoder()
        self.sent = 0

    def start(self) -> None:
        """(Re)start the port and say HELLO. Raises PortError."""
        self._decoder = Decoder()
        self._model = None
        try:
            self.transport.restart()
            answer = self._ask(Type.HELLO, Body("", {"protocol": PROTOCOL}).encode())
            if answer.type != Type.PORT:
                raise PortError(f"expected an answer to HELLO, found {_name(answer)}")
            self.port = _port(Body.decode(answer.payload))
        except _Refused as error:
            raise PortError(f"no answer to HELLO: {error.message}") from error
        except ProtocolError as error:
            raise PortError(f"an answer to HELLO that cannot be read: {error}") from error

    def run(self, case: Vector, models: Mapping[str, Model]) -> Result:
        """One case; whatever the port does is a result."""
        begun = time.monotonic()
        self.sent = 0
        try:
            result = self._run(case, models)
        except _Refused as error:
            result = _result(case, error.status, error.message)
        except ProtocolError as error:
            result = _result(case, "protocol", str(error))
        return replace(result, seconds=time.monotonic() - begun, attempts=max(1, self.sent))

    def stop(self) -> None:
        """Say BYE; it does not matter whether the port answers."""
        with suppress(_Refused, EeError):
            self._ask(Type.BYE, Body().encode())

    def restart(self) -> None:
        """Start the port again after a case that killed it; `gone` says why that failed.

        A board on a serial line cannot be started: it only has to answer HELLO.
        """
        for _ in range(RESTARTS if self.transport.can_restart else 1):
            try:
                self.start()
                self.gone = ""
                return
            except EeError as error:
                self.gone = f"does not start again: {error}"

    def _run(self, case: Vector, models: Mapping[str, Model]) -> Result:
        if self.port.ops and case.op not in self.port.ops:
            raise _Refused("unsupported", f"the port does not do {case.op}")
        payload = self._payload(Body(case.op, case.parameters, case.inputs))
        if case.model:
            self._load(models[case.model])
        found = Body.decode(self._result_of(Type.CASE, payload).payload).tensors
        differences = tuple(judge(found, case.expected, case.bounds))
        ulp, db = _worst(found, case)
        message = "; ".join(f"{d.tensor}: {d.message}" for d in differences)
        return _result(case, "fail" if differences else "pass", message, differences, ulp, db)

    def _payload(self, body: Body) -> bytes:
        """The bytes of a body that the port has room for."""
        payload = body.encode()
        if len(payload) > self.port.largest_frame:
            raise _Refused("unsupported", f"a frame of {len(payload)} bytes, the port takes "
                                          f"{self.port.largest_frame}")
        return payload

    def _load(self, model: Model) -> None:
        if self._model == model.name:
            return
        self._model = None
        built_in = model.sha256 in self.port.models
        tensors = {} if built_in else {"image": np.frombuffer(model.image, np.int8)}
        self._result_of(Type.MODEL, self._payload(Body(model.sha256, {}, tensors)))
        self._model = model.name

    def _result_of(self, type_: Type, payload: bytes) -> Frame:
        answer = self._ask(type_, payload)
        if answer.type == Type.RESULT:
            return answer
        if answer.type not in (Type.UNSUPPORTED, Type.ERROR):
            raise ProtocolError(f"expected RESULT, UNSUPPORTED or ERROR, found {_name(answer)}")
        parameters = Body.decode(answer.payload).parameters
        text = parameters.get("text", "")
        if answer.type == Type.UNSUPPORTED:
            raise _Refused("unsupported", f"the port says: {text}")
        raise _Refused("fail", f"the port says: error {parameters.get('code')}: {text}")

    def _ask(self, type_: Type, payload: bytes) -> Frame:
        """The answer to a frame, which is sent again when bytes were lost on the way."""
        self._sequence = self._sequence % 0xFFFF + 1
        data = Frame(type_, self._sequence, payload).encode()
        for _ in range(ATTEMPTS):
            self.sent += 1
            try:
                answer = self._attempt(data)
            except PortDied as error:
                raise _Refused("died", str(error)) from error
            except PortSilent:
                # Through pipes nothing gets lost: who is silent there hangs.
                lost = "no answer in time"
                if self.transport.can_restart:
                    raise _Refused("timeout", f"no answer in {self.timeout:g} s{self._heard()}"
                                   ) from None
                continue
            if answer is not None:
                return answer
            lost = "damaged frames"
        if lost == "damaged frames":
            raise _Refused("protocol", f"damaged frames, {ATTEMPTS} times{self._heard()}")
        raise _Refused("timeout", f"no answer in {self.timeout:g} s, {ATTEMPTS} times"
                                  f"{self._heard()}")

    def _attempt(self, data: bytes) -> Frame | None:
        """The answer, or None when a frame was damaged in either direction."""
        deadline = time.monotonic() + self.timeout
        damaged = self._decoder.damaged
        self.transport.send(data, deadline)
        while True:
            if time.monotonic() > deadline:
                raise PortSilent()
            for frame in self._decoder.feed(self.transport.receive(deadline)):
                if frame.sequence == self._sequence:
                    return frame
                if frame.type == Type.ERROR and _code(frame) == BAD_FRAME:
                    return None
            if self._decoder.damaged > damaged:
                return None

    def _heard(self) -> str:
        noise = bytes(self._decoder.noise).decode("ascii", errors="replace").strip()
        return f"; besides frames it said: {noise[-200:]!r}" if noise else ""


def run(
    vectors: Vectors, transport: Transport, cases: Sequence[Vector], timeout: float,
    waivers: Iterable[Waiver] = (),
    progress: Callable[[Iterable[Result], int], Iterable[Result]] = lambda items, total: items,
) -> Run:
    """Run cases on a port. Raises PortError when it does not answer the first HELLO.

    progress: wraps the iteration over (results, their number).
    """
    session = Session(transport, timeout)
    session.start()
    done = Run(session.port, vectors.version)
    waivers = tuple(waivers)
    for result in progress(_results(session, cases, vectors.models), len(cases)):
        for waiver in waivers:
            if waiver.covers(result.case, session.port.name, result.status):
                done.used.add(waiver)
                result = replace(result, status="waived", waiver=waiver.reason)
                break
        done.results.append(result)
    if not session.gone:
        session.stop()
    return done


def _results(session: Session, cases: Sequence[Vector], models: Mapping[str, Model]
             ) -> Iterator[Result]:
    for case in cases:
        if session.gone:
            yield _result(case, "died", f"not tried: {session.gone}")
            continue
        result = session.run(case, models)
        yield result
        if result.status in ("died", "timeout"):
            session.restart()


def _port(body: Body) -> Port:
    given = body.parameters
    if given.get("protocol") != PROTOCOL:
        raise PortError(f"expected protocol {PROTOCOL}, found {given.get('protocol')!r}")

    def text(name: str) -> str:
        return str(given.get(name, ""))

    limit = given.get("largest_frame", Port.largest_frame)
    if not isinstance(limit, int) or limit < 1:
        raise PortError(f"expected a largest_frame of at least 1, found {limit!r}")
    return Port(text("name") or "unnamed", text("version"), text("isa"), limit,
                frozenset(text("ops").split()), frozenset(text("models").split()))


def _code(frame: Frame) -> object:
    try:
        return Body.decode(frame.payload).parameters.get("code")
    except ProtocolError:
        return None


def _name(frame: Frame) -> str:
    return Type(frame.type).name if frame.type in set(Type) else f"type {frame.type:#x}"


def _worst(found, case: Vector) -> tuple[float | None, float | None]:
    measured = [distances(found[name], wanted) for name, wanted in case.expected.items()
                if name in found and found[name].shape == wanted.shape
                and found[name].dtype == wanted.dtype and wanted.dtype.kind == "f"]
    if not measured:
        return None, None
    return max(ulp for ulp, _ in measured), min(db for _, db in measured)


def _result(case: Vector, status: str, message: str = "", differences=(), ulp=None, db=None
            ) -> Result:
    return Result(case.name, case.tier, case.op, status, message, differences, ulp, db)
