"""The cases of every op: one module an op, each with `CASES`, a list of `tests.support.Case`.

The golden values (tests/golden/gen_ops.py), the tests of both implementations (tests/test_ops.py)
and the contract test (tests/test_contract.py) all read these tables.
"""

from __future__ import annotations

import importlib
import pkgutil

from tests.support import Case


def op_names() -> list[str]:
    """The ops that have cases."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def cases_of(op: str) -> list[Case]:
    """The cases of one op."""
    return importlib.import_module(f"{__name__}.{op}").CASES
