"""The results of a run: a table for people, JSON, and JUnit XML for build servers."""

from __future__ import annotations

import dataclasses
import json
import re
from collections import Counter
from xml.etree import ElementTree

from .. import __version__
from ..formats import json_value
from .runner import STATUSES, Result, Run
from .suite import TIERS

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render(run: Run, format: str) -> str:
    """The run in one of REPORT_FORMATS, ending with a new line."""
    return {"table": table, "json": as_json, "junit": junit}[format](run)


def table(run: Run) -> str:
    """Counts by tier, then a line for each case that did not pass."""
    tiers = [tier for tier in TIERS if any(r.tier == tier for r in run.results)]
    head = ["tier", "cases", *STATUSES]
    rows = [[tier, sum(r.tier == tier for r in run.results),
             *(run.count(status, tier) for status in STATUSES)] for tier in tiers]
    rows.append(["all", len(run.results), *(run.count(status) for status in STATUSES)])
    lines = [_port(run)]
    lines += ["  ".join(f"{cell:>11}" if i else f"{cell:8}" for i, cell in enumerate(row))
              for row in ([head] + rows)]
    reasons = [r for r in run.results if r.status not in ("pass", "unsupported")]
    lines += [_line(result) for result in reasons]
    lines += _unsupported(run)
    lines += run.problems
    return "\n".join(lines) + "\n"


def _port(run: Run) -> str:
    port = run.port
    about = " ".join(filter(None, (port.name, port.version, port.isa)))
    return f"port: {about}; vectors version {run.suite_version}"


def _line(result: Result) -> str:
    text = f"{result.status}: {result.case}: {result.message}"
    for difference in result.differences:
        if difference.index is not None:
            text += (f"\n    {difference.tensor}{list(difference.index)}: "
                     f"expected {difference.expected}, found {difference.found}")
            if difference.ulp is not None:
                text += f"; {difference.ulp:.3g} ULP, {difference.db:.1f} dB"
    return text + (f"\n    waived: {result.waiver}" if result.waiver else "")


def _unsupported(run: Run) -> list[str]:
    """Reasons, each with how many cases it has."""
    counts = Counter(r.message for r in run.results if r.status == "unsupported")
    return [f"unsupported: {count} cases: {message}" for message, count in counts.items()]


def as_json(run: Run) -> str:
    """Everything, as one object. Numbers that JSON lacks are null."""
    port = {**dataclasses.asdict(run.port), "ops": sorted(run.port.ops),
            "models": sorted(run.port.models)}
    document = {
        "format": "ee-conformance-report", "version": 1, "ee_ref": __version__,
        "suite_version": run.suite_version, "port": port,
        "counts": {status: run.count(status) for status in STATUSES},
        "problems": run.problems,
        "results": [json_value(dataclasses.asdict(result)) for result in run.results],
    }
    return json.dumps(document, indent=1, allow_nan=False) + "\n"


def junit(run: Run) -> str:
    """One suite a tier, one case each; waived and unsupported ones are skipped."""
    root = ElementTree.Element("testsuites", name=_clean(_port(run)))
    for tier in TIERS:
        results = [r for r in run.results if r.tier == tier]
        if results:
            _suite(root, tier, results)
    if run.problems:
        suite = ElementTree.SubElement(root, "testsuite", name="waivers", errors="0", skipped="0",
                                       tests=str(len(run.problems)),
                                       failures=str(len(run.problems)))
        for problem in run.problems:
            case = ElementTree.SubElement(
                suite, "testcase", classname="waivers", name=_clean(problem))
            ElementTree.SubElement(case, "failure", message=_clean(problem))
    ElementTree.indent(root)
    return ('<?xml version="1.0" encoding="utf-8"?>\n'
            + ElementTree.tostring(root, encoding="unicode") + "\n")


def _suite(root: ElementTree.Element, tier: str, results: list[Result]) -> None:
    skipped = sum(r.status in ("waived", "unsupported") for r in results)
    failures = sum(r.status == "fail" for r in results)
    errors = len(results) - skipped - failures - sum(r.status == "pass" for r in results)
    suite = ElementTree.SubElement(
        root, "testsuite", name=tier, tests=str(len(results)), failures=str(failures),
        errors=str(errors), skipped=str(skipped),
        time=f"{sum(r.seconds for r in results):.3f}")
    for result in results:
        case = ElementTree.SubElement(
            suite, "testcase", classname=f"{result.tier}.{result.op}",
            name=_clean(result.case.rpartition("/")[2]), time=f"{result.seconds:.3f}")
        if result.status == "pass":
            continue
        kind = {"fail": "failure", "waived": "skipped", "unsupported": "skipped"}.get(
            result.status, "error")
        reason = result.waiver or result.message
        element = ElementTree.SubElement(
            case, kind, message=_clean(f"{result.status}: {reason}"))
        element.text = _clean(_line(result))


def _clean(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)
