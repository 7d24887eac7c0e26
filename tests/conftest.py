"""Fixtures shared by all tests.

An installed ee_ref is tested in preference to the source tree, which has a C library only after
`python setup.py build_ext --inplace` or an editable install; the report's header says which one it
is. Without a C library the tests of the kernels are skipped, with the reason; with
EE_REF_REQUIRE_NATIVE=1 in the environment, as in CI, they fail instead.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path

# Before NumPy is imported: with several threads on a busy machine BLAS waits more than it works.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# Before ee_ref is imported: pytest put the source tree first.
ROOT = Path(__file__).resolve().parent.parent


def prefer_installed() -> None:
    """Look for modules in the source tree last."""
    sys.path[:] = [*(entry for entry in sys.path if Path(entry).resolve() != ROOT), str(ROOT)]


prefer_installed()

import numpy as np
import pytest
from hypothesis import settings

import ee_ref
from ee_ref import model_file, native, ops
from ee_ref.conformance import manifest, suite
from ee_ref.conformance.draw import random_state_dict
from ee_ref.convert import convert_state_dict
from ee_ref.encoder import ReferenceEncoder
from ee_ref.errors import NativeUnavailable
from tests.support import (
    DESK,
    FULL,
    FULL_SEED,
    GOLDEN,
    PROMISES,
    TOY,
    TOY_TOKENS,
    link_to_installed,
)

settings.register_profile("ee_ref", deadline=None, max_examples=40)
settings.register_profile("ci", settings.get_profile("ee_ref"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "ee_ref")

try:
    from ee_ref.native import _lib
except NativeUnavailable as _error:
    ISAS, EMULATED_ISAS, UNAVAILABLE = ("c",), (), str(_error)
else:
    ISAS, UNAVAILABLE = _lib.available_isas(), ""
    # Sets that this CPU lacks, and programs compiled with EMULATION of tests.support have.
    EMULATED_ISAS = tuple(
        isa for isa in _lib.built_isas() if isa == "amx" and isa not in ISAS and "vnni" in ISAS)


def pytest_configure() -> None:
    """What a shell starts in the background ignores SIGINT, and what nohup starts SIGHUP; and so
    would what tests start."""
    for number, handler in ((signal.SIGINT, signal.default_int_handler),
                            (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


def pytest_report_header() -> str:
    kernels = UNAVAILABLE or f"C kernels: {', '.join(ISAS)}"
    return f"ee_ref: {Path(ee_ref.__file__).parent}; {kernels}"


@pytest.fixture(scope="module", autouse=True)
def path_of_spawned_processes() -> None:
    """They are given the path as it is now, and pytest puts the source tree before all else for
    each package of tests."""
    prefer_installed()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport():
    """With EE_REF_NO_SKIPS=1 a test that is skipped has failed: CI has all that any test needs."""
    report = (yield).get_result()
    if report.skipped and os.environ.get("EE_REF_NO_SKIPS") == "1":
        report.outcome, report.longrepr = "failed", f"not to be skipped: {report.longrepr[-1]}"


pytest_make_collect_report = pytest_runtest_makereport  # the same for a whole module


def require_native() -> None:
    """Skip the test when the C library is missing; fail it with EE_REF_REQUIRE_NATIVE=1."""
    if UNAVAILABLE and os.environ.get("EE_REF_REQUIRE_NATIVE") == "1":
        pytest.fail(f"EE_REF_REQUIRE_NATIVE=1, and {UNAVAILABLE}", pytrace=False)
    if UNAVAILABLE:
        pytest.skip(UNAVAILABLE)


@pytest.fixture
def native_library() -> None:
    """For tests that need the C library, whatever its instruction set."""
    require_native()


@pytest.fixture(params=ISAS)
def isa(request, monkeypatch) -> str:
    """Each instruction set of this CPU in turn, made the one that `ee_ref.native` uses."""
    require_native()
    monkeypatch.setenv("EE_REF_ISA", request.param)
    return request.param


@pytest.fixture(params=("numpy", *ISAS))
def backend(request, monkeypatch) -> str:
    """The NumPy backend, "numpy", then each instruction set as `isa` does."""
    if request.param != "numpy":
        require_native()
        monkeypatch.setenv("EE_REF_ISA", request.param)
    return request.param


@pytest.fixture
def op_set(backend):
    """The module whose functions are the ops: `ee_ref.ops`, then `ee_ref.native` with each ISA."""
    return ops if backend == "numpy" else native


@pytest.fixture
def make_encoder(backend):
    """(config, tensors) -> encoder, on NumPy and on each instruction set."""
    if backend == "numpy":
        return ReferenceEncoder
    from ee_ref.native._session import NativeModel

    return NativeModel


@pytest.fixture(scope="session")
def vectors() -> manifest.Vectors:
    """The conformance suite."""
    return manifest.computed(suite.suite())


@pytest.fixture(scope="session")
def c_programs() -> None:
    """For tests that compile programs for the C library installed."""
    require_native()
    if sys.platform != "linux" or shutil.which("cc") is None:
        pytest.skip("needs Linux and a C compiler")


@pytest.fixture(scope="session")
def desk(c_programs, tmp_path_factory) -> list[str]:
    """The command of the C port of this machine, on the library installed."""
    sources = sorted(DESK.glob("*.c"))
    return link_to_installed(tmp_path_factory.mktemp("desk"), "ee_conformance_desk", sources)


@pytest.fixture(scope="session")
def ops_golden():
    """`op/case` -> PyTorch's value."""
    with np.load(suite.GOLDEN / "ops.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="session")
def features_golden():
    """An int16 `clip`, and what torchaudio makes of it (tests/golden/gen_features.py)."""
    with np.load(GOLDEN / "features.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="session")
def native_front_end():
    """The class of the front end in C."""
    require_native()
    from ee_ref.native._frontend import NativeFrontEnd

    return NativeFrontEnd


@pytest.fixture(scope="session")
def model_golden():
    """See tests/golden/gen_model.py."""
    with np.load(GOLDEN / "model.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="session")
def wav2vec2_golden():
    """See tests/golden/gen_wav2vec2.py."""
    with np.load(GOLDEN / "wav2vec2.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="session", params=PROMISES, ids="qk_gain_{}".format)
def full_model(request):
    """qk_gain and the tensors of the 31.5 M parameter model, for each gain."""
    config, tensors = convert_state_dict(random_state_dict(FULL, FULL_SEED, request.param))
    assert config == FULL
    return request.param, tensors


@pytest.fixture(scope="session")
def model_path(tmp_path_factory) -> Path:
    """A model file of `TOY` with random weights: 3 exits, log-mel features, pieces of words."""
    config, tensors = convert_state_dict(random_state_dict(TOY, 1), heads=TOY.heads)
    assert config == TOY
    path = tmp_path_factory.mktemp("model") / "toy.gguf"
    model_file.write(path, config, TOY_TOKENS, {1, 2}, tensors, name="toy")
    return path
