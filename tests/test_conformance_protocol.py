"""The conformance suite's frames, and ports that misbehave in every way."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ee_ref import ops
from ee_ref.conformance import protocol, runner
from ee_ref.conformance.judge import EXACT, Bound
from ee_ref.conformance.manifest import Vectors
from ee_ref.conformance.protocol import Body, Decoder, Frame, ProtocolError
from ee_ref.conformance.suite import VERSION
from ee_ref.conformance.transport import PortDied, PortSilent, Program, Serial
from ee_ref.conformance.vector import Vector
from ee_ref.errors import ArgumentError, FileError

ROOT = Path(__file__).resolve().parent.parent
FAKE = [sys.executable, str(ROOT / "tests" / "fake_port.py")]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}

frames = st.builds(Frame, st.integers(0, 255), st.integers(0, 65535), st.binary(max_size=200))
FLUSH = [Frame(1, number, bytes(100)) for number in range(4)]
"""Behind damage: longer than any frame before, so that nothing is still being waited for."""


def decoded(data: bytes, pieces: int = 7) -> list[Frame]:
    decoder = Decoder()
    return [frame for start in range(0, len(data), pieces)
            for frame in decoder.feed(data[start : start + pieces])]


# ---- Frames ----


def test_a_frame_is_as_documented():
    data = Frame(3, 0x1234, b"abc").encode()
    assert data[:12] == b"EECF\x03\x00\x34\x12\x03\x00\x00\x00"
    assert data[16:19] == b"abc" and len(data) == 23
    assert Frame(1, 1, b"").encode()[16:] == bytes(4)  # CRC-32 of nothing


@given(st.lists(frames, max_size=5), st.integers(1, 300))
def test_whole_frames_come_again(sent, pieces):
    assert decoded(b"".join(frame.encode() for frame in sent), pieces) == sent


@given(st.lists(frames, min_size=1, max_size=4), st.data())
def test_one_bad_byte_costs_at_most_its_own_frame(sent, data):
    encoded = [frame.encode() for frame in sent]
    which = data.draw(st.integers(0, len(sent) - 1))
    at = data.draw(st.integers(0, len(encoded[which]) - 1))
    kind = data.draw(st.sampled_from(["change", "drop", "add"]))
    old = encoded[which]
    byte = bytes([old[at] ^ data.draw(st.integers(1, 255))])
    encoded[which] = old[:at] + {"change": byte, "drop": b"", "add": byte + old[at : at + 1]}[
        kind] + old[at + 1 :]
    found = decoded(b"".join(encoded) + b"".join(frame.encode() for frame in FLUSH))
    others = [frame for number, frame in enumerate(sent) if number != which]
    # An added byte may lie before the magic, and do no harm.
    assert found[:-4] in (others, sent) if kind == "add" else found[:-4] == others
    assert found[-4:] == FLUSH


@given(st.binary(max_size=400), frames)
def test_noise_is_passed_over(noise, frame):
    assert decoded(noise + frame.encode() + b"".join(f.encode() for f in FLUSH))[-5:] == [
        frame, *FLUSH]


def test_a_length_beyond_the_limit_is_no_frame(monkeypatch):
    monkeypatch.setattr(protocol, "MAX_PAYLOAD", 10)
    decoder = Decoder()
    assert list(decoder.feed(Frame(1, 1, bytes(11)).encode() + Frame(1, 2).encode())) == [
        Frame(1, 2)]


names = st.text(max_size=20)
parameters = st.dictionaries(names, st.one_of(
    st.integers(-2**31, 2**31 - 1), st.floats(width=32, allow_nan=False), names), max_size=5)


@given(names, parameters, st.lists(st.tuples(
    names, st.sampled_from(["<f4", "i1", "<i2", "<i4"]),
    st.lists(st.integers(0, 5), min_size=1, max_size=4)), max_size=4, unique_by=lambda t: t[0]))
def test_bodies_come_again(name, given_parameters, shapes):
    tensors = {key: np.arange(np.prod(shape)).astype(dtype).reshape(shape)
               for key, dtype, shape in shapes}
    payload = Body(name, given_parameters, tensors).encode()
    found = Body.decode(payload)
    assert (found.name, found.parameters) == (name, given_parameters)
    assert list(found.tensors) == list(tensors)
    for key, tensor in tensors.items():
        assert found.tensors[key].dtype == tensor.dtype
        assert np.array_equal(found.tensors[key], tensor)


def test_tensors_lie_at_multiples_of_64():
    tensors = {"a": np.arange(3, dtype=np.int8), "b": np.ones(2, np.float32)}
    payload = Body("x", {}, tensors).encode()
    assert payload[64:67] == b"\0\1\2" and payload[128:] == np.ones(2, "<f4").tobytes()


@given(st.binary(max_size=300))
def test_any_payload_is_read_or_refused(payload):
    try:
        Body.decode(payload)
    except ProtocolError:
        pass


@given(st.integers(0, 200), st.integers(0, 255))
def test_a_changed_body_is_read_or_refused(at, value):
    payload = bytearray(Body("op", {"n": 3, "t": "x"}, {"a": np.ones((2, 3), np.float32)}).encode())
    payload[at % len(payload)] = value
    try:
        Body.decode(bytes(payload))
    except ProtocolError:
        pass


# ---- Ports that misbehave ----


def silu_case(rows: int) -> Vector:
    x = np.linspace(-3, 3, rows * 5, dtype=np.float32).reshape(rows, 5)
    return Vector(f"int8/silu_exact/rows_{rows}", "int8", "silu_exact", {"x": x},
                  {"y": ops.silu_exact(x)}, {"y": Bound(EXACT, 0, "exact")})


CASES = tuple(silu_case(rows) for rows in (1, 3, 4))
VECTORS = Vectors(VERSION, CASES, {})


def run_fake(mode: str, timeout: float = 20.0, cases=CASES, environment=None) -> runner.Run:
    transport = Program([*FAKE, mode], {**ENVIRONMENT, **(environment or {})})
    try:
        return runner.run(VECTORS, transport, cases, timeout)
    finally:
        transport.close()


@pytest.mark.parametrize("mode, status, message", [
    ("good", "pass", ""),
    ("garbage", "pass", ""),
    ("stale", "pass", ""),
    ("dies", "died", "exit status 3: out of smoke"),
    ("truncated", "died", "exit status 0"),
    ("wrong_crc", "protocol", "damaged frames, 3 times"),
    ("asks_again", "fail", "error 1"),
    ("error", "fail", "error 4: no luck"),
    ("unsupported", "unsupported", "too many rows"),
    ("one_bit", "fail", "1 of 15 values differ by their bytes"),
    ("shape", "fail", "expected float32 (3, 5), found float32 (3, 4)"),
    ("dtype", "fail", "expected float32 (3, 5), found int32 (3, 5)"),
    ("missing", "fail", "y: missing"),
    ("more", "fail", "z: not expected"),
    ("nan", "fail", "values differ"),
    ("bad_body", "protocol", "body"),
    ("other_type", "protocol", "found END"),
    ("unknown_type", "protocol", "found type 0x99"),
    ("huge", "protocol", "body"),
])
def test_what_a_port_does_is_a_result(mode, status, message):
    run = run_fake(mode)
    found = [result.status for result in run.results]
    assert found == ["pass", status, "pass"], run.results[1]
    assert message in run.results[1].message


@pytest.mark.parametrize("mode", ["hangs", "only_stale"])
def test_who_does_not_answer_is_given_up_and_started_again(mode):
    run = run_fake(mode, timeout=2.0)
    assert [result.status for result in run.results] == ["pass", "timeout", "pass"]
    assert "no answer in 2 s" in run.results[1].message


def test_a_failure_shows_where():
    (difference,) = run_fake("one_bit").results[1].differences
    assert difference.index == (1, 2)
    expected = ops.silu_exact(CASES[1].inputs["x"])[1, 2]
    assert float(expected).hex() in difference.expected
    assert difference.found != difference.expected and 0 < difference.ulp < 2


def test_a_port_that_does_not_start_again_ends_the_run(tmp_path):
    run = run_fake("dies_for_good", environment={"FAKE_MARK": str(tmp_path / "mark")})
    assert [result.status for result in run.results] == ["pass", "died", "died"]
    assert "not tried" in run.results[2].message


def status_case(op: str, status: bytes) -> Vector:
    return Vector(f"status/{op}/a", "status", op, {"image": np.zeros(64, np.int8)},
                  {"status": np.frombuffer(status, np.int8)}, {"status": Bound(EXACT, 0, "a name")})


@pytest.mark.parametrize("mode, message", [
    ("good", "the port says: no such op: log_probs_status"),
    ("lists_ops", "the port does not do log_probs_status"),
])
def test_an_op_of_newer_vectors_is_unsupported(mode, message):
    run = run_fake(mode, cases=(CASES[0], status_case("log_probs_status", b"EE_OK"), CASES[2]))
    assert [result.status for result in run.results] == ["pass", "unsupported", "pass"]
    assert message in run.results[1].message
    assert not run.failed() and run.failed(complete=True)


def test_a_status_is_judged_by_its_name():
    run = run_fake("good", cases=(status_case("image_status", b"EE_OK"),
                                  status_case("image_status", b"EE_ERR_IMAGE_MAGIC")))
    assert [result.status for result in run.results] == ["pass", "fail"]
    assert "status: expected 'EE_ERR_IMAGE_MAGIC', found 'EE_OK'" in run.results[1].message


def test_frames_that_the_port_does_not_take_are_not_sent():
    run = run_fake("good", cases=(CASES[0], silu_case(2000)))
    assert [result.status for result in run.results] == ["pass", "unsupported"]
    assert "the port takes 20000" in run.results[1].message


@pytest.mark.parametrize("mode, message", [
    ("other_protocol", "expected protocol 1, found 99"),
    ("garbled_hello", "cannot be read"),
    ("silent", "no answer in 1 s"),
])
def test_no_hello_is_an_error(mode, message):
    with pytest.raises(runner.PortError, match=message):
        run_fake(mode, timeout=1.0 if mode == "silent" else 20.0)


def test_commands_that_cannot_be_started():
    with pytest.raises(FileError, match="cannot be started"):
        Program(["/nonexistent/port"]).restart()
    with pytest.raises(ArgumentError, match="split"):
        Program.of_shell_words("'")
    with pytest.raises(ArgumentError, match="nothing"):
        Program.of_shell_words("")


# ---- Lossy and serial lines ----


class Lossy:
    """A line to a fake port that damages the n-th piece of bytes it moves, for each n given."""

    can_restart = False

    def __init__(self, transport, sent=(), received=()):
        self.transport, self.bad_sent, self.bad_received = transport, set(sent), set(received)
        self.sent = self.received = 0

    def restart(self):
        self.transport.restart()

    def send(self, data, deadline):
        self.sent += 1
        self.transport.send(self._spoil(data, self.sent in self.bad_sent), deadline)

    def receive(self, deadline):
        self.received += 1
        return self._spoil(self.transport.receive(deadline), self.received in self.bad_received)

    def _spoil(self, data, bad):
        if not bad:
            return data
        return data[:20] + data[21:] if self.kind == "drop" else data[:20] + b"\xee" + data[21:]

    def close(self):
        self.transport.close()


@pytest.mark.parametrize("kind", ["drop", "change"])
@pytest.mark.parametrize("direction", ["sent", "received"])
def test_lost_bytes_are_sent_again(kind, direction):
    port = good_port()
    line = Lossy(port, **{direction: (2, 4)})
    line.kind = kind
    try:
        run = runner.run(VECTORS, line, CASES, timeout=3.0)
    finally:
        line.close()
    assert [result.status for result in run.results] == ["pass"] * 3
    assert max(result.attempts for result in run.results) > 1


def good_port() -> Program:
    return Program([*FAKE, "good"], ENVIRONMENT)


def test_a_line_that_is_always_bad_is_a_result():
    line = Lossy(good_port(), sent=range(2, 1000))
    line.kind = "change"
    try:
        run = runner.run(VECTORS, line, CASES[:1], timeout=0.5)
    finally:
        line.close()
    assert run.results[0].status in ("protocol", "timeout") and run.results[0].attempts == 3


@pytest.fixture
def serial_line():
    """(device, descriptor of the other end) of a pseudo-terminal."""
    pty = pytest.importorskip("pty")
    master, slave = pty.openpty()
    yield os.ttyname(slave), master
    os.close(master)
    os.close(slave)


def test_serial(serial_line):
    device, master = serial_line
    serial = Serial(device)
    process = subprocess.Popen([*FAKE, "garbage"], stdin=master, stdout=master, env=ENVIRONMENT)
    try:
        run = runner.run(VECTORS, serial, CASES, timeout=20.0)
        assert [result.status for result in run.results] == ["pass"] * 3
    finally:
        serial.close()
        process.kill()
        process.wait()


@contextlib.contextmanager
def plugged(serial_line, mode: str):
    """(Serial, process) of a fake port at the other end, which has started."""
    device, master = serial_line
    process = subprocess.Popen([*FAKE, mode], stdin=master, stdout=master, env=ENVIRONMENT)
    serial = Serial(device)
    try:
        runner.Session(serial, timeout=20.0).start()
        yield serial, process
    finally:
        serial.close()
        process.kill()
        process.wait()


@pytest.mark.parametrize("kind", ["drop", "change"])
def test_bytes_lost_on_a_serial_line_are_sent_again(serial_line, kind):
    with plugged(serial_line, "good") as (serial, _):
        line = Lossy(serial, sent=(2, 4), received=(6,))
        line.kind = kind
        run = runner.run(VECTORS, line, CASES, timeout=1.0)
    assert [result.status for result in run.results] == ["pass"] * 3
    assert max(result.attempts for result in run.results) > 1


def test_a_board_that_hangs_for_a_case_goes_on_with_the_next(serial_line):
    with plugged(serial_line, "only_stale") as (serial, _):
        run = runner.run(VECTORS, serial, CASES, timeout=1.0)
    assert [result.status for result in run.results] == ["pass", "timeout", "pass"]
    assert run.results[1].attempts == 3


@pytest.mark.parametrize("unplugged", [False, True])
def test_a_board_that_is_gone_ends_the_run(serial_line, unplugged):
    with plugged(serial_line, "dies") as (serial, process):
        def unplug(results, _total):
            for result in results:
                if unplugged:
                    process.kill()
                    with open(os.devnull, "r+b") as nothing:
                        os.dup2(nothing.fileno(), serial_line[1])
                yield result

        run = runner.run(VECTORS, serial, CASES, timeout=1.0, progress=unplug)
    assert [result.status for result in run.results] == [
        "pass", "died" if unplugged else "timeout", "died"]
    assert "not tried: does not start again" in run.results[2].message


def test_serial_moves_every_byte(serial_line):
    device, master = serial_line
    serial = Serial(device)
    every = bytes(range(256)) * 40
    reader = bytearray()

    def read_all():
        while len(reader) < len(every):
            reader.extend(os.read(master, 4096))

    thread = threading.Thread(target=read_all)
    thread.start()
    serial.send(every, time.monotonic() + 10)
    thread.join(10)
    assert bytes(reader) == every
    os.write(master, every[:1000])
    found = b""
    while len(found) < 1000:
        found += serial.receive(time.monotonic() + 10)
    assert found == every[:1000]
    with pytest.raises(PortSilent):
        serial.receive(time.monotonic() + 0.05)
    serial.close()


def test_serial_errors(tmp_path, serial_line):
    with pytest.raises(FileError, match="No such file"):
        Serial(str(tmp_path / "none"))
    (tmp_path / "file").touch()
    with pytest.raises(FileError, match="no serial line"):
        Serial(str(tmp_path / "file"))
    with pytest.raises(ArgumentError, match="--baud"):
        Serial(serial_line[0], baud=12345)


def test_a_program_that_is_gone():
    program = Program([sys.executable, "-c", "pass"])
    program.restart()
    with pytest.raises(PortDied, match="exit status 0"):
        program.receive(time.monotonic() + 10)
    program.close()


def test_the_documented_types_are_those_of_the_code():
    page = (ROOT / "docs" / "conformance-protocol.md").read_text()
    for type_ in protocol.Type:
        assert f"| 0x{type_:02X} {type_.name} |" in page
    assert f"`{protocol.MAGIC.decode()}`" in page


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="needs signals of POSIX")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_while_a_port_is_started_leaves_no_port(name, monkeypatch):
    """The program runs already, and Popen has not returned: who would end it?"""
    started = []

    class Slow(subprocess.Popen):
        def __init__(self, *given, **named):
            super().__init__(*given, **named)
            started.append(self)
            os.kill(os.getpid(), getattr(signal, name))
            for _ in range(1000):  # where the interpreter runs handlers
                pass

    def stop(number, frame):
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess, "Popen", Slow)
    before = signal.signal(getattr(signal, name), stop)
    port = Program([*FAKE, "hangs"], ENVIRONMENT)
    try:
        with pytest.raises(KeyboardInterrupt):
            port.restart()
        assert signal.getsignal(getattr(signal, name)) is stop
        port.close()
    finally:
        signal.signal(getattr(signal, name), before)
    assert [process.poll() is not None for process in started] == [True]
