"""Node and Chromium: each skipped where it is missing, with the reason; with
EE_REF_REQUIRE_BOARDS=1 in the environment, as in `.ci/web`, that is a failure."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ee_ref import web

SITE = Path(web.__file__).parent
KERNELS = {"c": SITE / "ee-ref-portable.wasm", "simd128": SITE / "ee-ref-simd128.wasm"}
"""By their name in the module."""


def require(what: str, is_there: bool) -> None:
    """Skip the test, or fail it, unless it is there."""
    if is_there:
        return
    if os.environ.get("EE_REF_REQUIRE_BOARDS") in ("1", "all"):
        pytest.fail(f"EE_REF_REQUIRE_BOARDS=1, and needs {what}", pytrace=False)
    pytest.skip(f"needs {what}")


def require_browser() -> None:
    require("chromium and chromedriver",
            all(shutil.which(name) for name in ("chromium", "chromedriver")))
    require("selenium", importlib.util.find_spec("selenium") is not None)


def node(do: str, **job: Any) -> Any:
    """What tests/web/module.mjs makes of a job; paths are given as they are."""
    require("node", shutil.which("node") is not None)
    job |= {"do": do, "module": (SITE / "ee-ref.mjs").as_uri()}
    done = subprocess.run(["node", str(Path(__file__).with_name("module.mjs"))], text=True,
                          input=json.dumps(job, default=str), capture_output=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
