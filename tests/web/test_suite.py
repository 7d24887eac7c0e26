"""The conformance suite in a browser: what proves the port under Node, over requests of a page."""

from __future__ import annotations

import shlex
import shutil
import sys
import threading
import time
from pathlib import Path

import pytest

from ee_ref.conformance import report, runner, transport
from tests.boards.support import make, require_tools
from tests.boards.test_suite import BUNDLED
from tests.support import cases_with_values
from tests.web.support import Quiet, chromium, require_browser, served

WORKER = Path(__file__).with_name("worker.js")
BUILDS = [("wasm", "c"), ("wasm_simd128", "simd128")]

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("web")]


class Pipe:
    """Bytes one way."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._changed = threading.Condition()

    def clear(self) -> None:
        with self._changed:
            self._data.clear()

    def put(self, data: bytes) -> None:
        with self._changed:
            self._data += data
            self._changed.notify_all()

    def take(self, seconds: float) -> bytes:
        """What there is, one byte at least; none when none comes in time."""
        with self._changed:
            self._changed.wait_for(lambda: self._data, seconds)
            found = bytes(self._data)
            self._data.clear()
            return found


class InBrowser:
    """A transport: the program in a worker of a page."""

    can_restart = True

    def __init__(self, driver, address: str, arguments: list[str], to: Pipe, back: Pipe) -> None:
        self.driver, self.address, self.arguments = driver, address, arguments
        self.to, self.back = to, back

    def restart(self) -> None:
        self.driver.get(self.address)
        self.to.clear()
        self.back.clear()
        self.driver.execute_script(
            "window.port = new Worker('worker.js', { name: JSON.stringify(arguments[0]) })",
            self.arguments)

    def send(self, data: bytes, deadline: float) -> None:
        self.to.put(data)

    def receive(self, deadline: float) -> bytes:
        found = self.back.take(deadline - time.monotonic())
        if not found:
            raise transport.PortSilent("no answer in time")
        return found

    def close(self) -> None:
        self.driver.get("about:blank")


def judged(vectors, cases, board: str, folder: Path, *settings: str, wrong: str = ""
           ) -> runner.Run:
    """A run of the port that the boards' tests run under Node."""
    require_tools(board)
    require_browser()
    command = make(f"BOARD={board}", "PROGRAM=conformance",
                   f"ARGUMENTS={f'wrong={wrong}' if wrong else ''}", *settings, "command").stdout
    words = shlex.split(command.strip().splitlines()[-1])
    program = next(n for n, word in enumerate(words) if word.endswith(".elf"))
    shutil.copy(words[program], folder / "conformance.wasm")
    shutil.copy(WORKER, folder)
    (folder / "index.html").write_text("<!doctype html><title>A port</title>")
    to, back = Pipe(), Pipe()

    class Bridge(Quiet):
        protocol_version = "HTTP/1.1"
        wbufsize = 1 << 16  # an answer in one piece: the next request waits for it
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            data = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path != "/print":
                back.put(data)
            found = to.take(60) if self.path == "/exchange" else b""
            self.answer(200 if found else 410, found)

        def answer(self, status: int, data: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    with served(folder, Bridge) as address, chromium() as driver:
        port = InBrowser(driver, address, words[program + 1 :], to, back)
        try:
            return runner.run(vectors, port, cases, 60.0)
        finally:
            port.close()


@pytest.fixture(scope="module")
def settings(tmp_path_factory) -> tuple[str, ...]:
    return f"OUT={tmp_path_factory.mktemp('ports')}", f"PYTHON={sys.executable}"


@pytest.mark.parametrize("board, isa", BUILDS)
def test_conformance(board, isa, vectors, settings, tmp_path):
    """Every case of the exact tiers, but that of the bundled model only some are asked."""
    cases = [case for case in vectors.cases
             if case.tier != "f32" and "-f32_" not in case.name
             and (case.model != "commands" or case.name in BUNDLED)]
    done = judged(vectors, cases, board, tmp_path, *settings)
    assert (done.port.name, done.port.isa) == (board, isa)
    assert {result.status for result in done.results} == {"pass"}, report.table(done)


def test_one_wrong_bit_is_noticed(vectors, settings, tmp_path):
    own = cases_with_values(vectors, "linear_qs8")
    done = judged(vectors, own, "wasm_simd128", tmp_path, *settings, wrong="linear_qs8")
    assert own and {result.status for result in done.results} == {"fail"}, report.table(done)
