"""The report of `ee-ref eval`: plain data, and the same as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import exits
from ..errors import ArgumentError
from ..model import Model
from ..phrases import Phrases
from . import figures, scoring
from .phrases import Outcomes, outcomes
from .run import Measurement, Table, table
from .score_table import ScoreTable


def report(model: Model, utterances: Sequence[Measurement], policy: exits.AnyPolicy | None,
           normalise: str, by: str | None = None, phrases: Phrases | None = None,
           decoder: str = "greedy") -> dict[str, Any]:
    """Figures of every exit, the oracle and the policy, overall and by a field of the manifest.

    phrases: those that `run` listened for. decoder: what the report calls the decoder of `run`.
    """
    whole = table(model, utterances, normalise)
    chosen = policy_choice(utterances) if policy is not None else None
    heard = None if phrases is None else outcomes(utterances, phrases, normalise)
    found: dict[str, Any] = {
        "model": model.file.path, "header_checksum": f"{model.file.header_checksum:08x}",
        "normaliser": normalise, "decoder": decoder if phrases is None else "phrases",
        "policy": _described(policy), "layers": whole.layers.tolist(),
        **_part(whole, chosen, heard),
    }
    if chosen is not None:
        followed = sum(utterance.seconds_used for utterance in utterances)
        groups = float(whole.times[np.arange(len(whole)), chosen].sum())
        in_rule = sum(utterance.score_seconds for utterance in utterances)
        found["policy_run"] = {
            "time_of_full_pass": figures.share(followed, whole.times[:, -1].sum()),
            "rule_of_groups": figures.share(in_rule, groups),
        }
    if by is not None:
        values = np.array([str(u.recording.fields.get(by, "")) for u in utterances])
        found |= _parts(by, values, whole, chosen, heard)
    return found


def report_of_scores(whole: ScoreTable, choice: np.ndarray | None, policy: exits.AnyPolicy | None,
                     by: str | None = None) -> dict[str, Any]:
    """The same of a table of scores. choice (n,): exits that the policy chooses, from 0."""
    found = {"errors": whole.errors, "policy": _described(policy),
             "layers": whole.table.layers.tolist(), **_part(whole.table, choice, None)}
    if by is not None:
        found |= _parts(by, whole.values(by), whole.table, choice, None)
    return found


def _parts(by: str, values: np.ndarray, whole: Table, choice: np.ndarray | None,
           heard: Outcomes | None) -> dict[str, Any]:
    """values (n,): by which the utterances are reported apart."""
    return {"by": by, "parts": {
        value: _part(whole.rows(values == value),
                     None if choice is None else choice[values == value],
                     None if heard is None else heard.rows(values == value))
        for value in sorted(set(values))}}


def policy_choice(utterances: Sequence[Measurement]) -> np.ndarray:
    """(n,) exits that the policy chose, from 0."""
    return np.array([utterance.exit - 1 for utterance in utterances])


def _described(policy: exits.AnyPolicy | None) -> Any:
    try:
        return None if policy is None else exits.to_plain(policy)
    except ArgumentError:
        return repr(policy)


def _part(part: Table, choice: np.ndarray | None, heard: Outcomes | None) -> dict[str, Any]:
    n, count = part.word_errors.shape
    found = {
        "utterances": n, "words": int(part.words.sum()), "seconds": float(part.seconds.sum()),
        "exits": [figures.figures(part, np.full(n, exit)) for exit in range(count)],
        "oracle": figures.figures(part, figures.oracle(part)),
    }
    if choice is not None:
        found["chosen"] = figures.figures(part, choice)
        found["against_mixture"] = figures.against_mixture(part, choice)
    if heard is not None:
        found["phrases"] = heard.report()
        if choice is not None:
            found["phrases"]["chosen"] = heard.figures(choice)
    return found


def rows_of_scores(whole: ScoreTable, choice: np.ndarray) -> list[dict[str, Any]]:
    """A row an utterance: the exit chosen (n,), from 0, and what it costs and gets wrong."""
    table = whole.table
    return [{"utterance": id, "exit": int(exit) + 1, "layers": int(table.layers[exit]),
             "words": int(words), "word_errors": int(errors[exit])}
            for id, exit, words, errors in zip(table.ids, choice, table.words, table.word_errors)]


def rows(utterances: Sequence[Measurement], normalise: str) -> list[dict[str, Any]]:
    """A row an utterance and exit."""
    found = []
    for utterance in utterances:
        counted = scoring.count(
            [utterance.recording.text] * len(utterance.texts), utterance.texts, normalise)
        for number, (text, errors) in enumerate(zip(utterance.texts, counted)):
            found.append({
                "id": utterance.recording.id, "exit": number + 1,
                "chosen": int(number + 1 == utterance.exit), "seconds": utterance.seconds,
                "word_errors": errors.words, "words": errors.reference_words,
                "character_errors": errors.characters, "characters": errors.reference_characters,
                "multiply_accumulates": utterance.costs[number],
                "cpu_seconds": utterance.times[number], **utterance.scores[number]._asdict(),
                **(utterance.heard[number].scores._asdict() if utterance.heard else {}),
                "text": text, "reference": utterance.recording.text,
            })
    return found


def text(found: dict[str, Any]) -> str:
    """The report as a table of plain text; what is undefined is "-"."""
    lines = [f"{found['utterances']} utterances, {found['words']} words, "
             + (f"errors {found['errors']}" if "errors" in found else
                f"{found['seconds']:.0f} s; normaliser {found['normaliser']}, "
                f"decoder {found['decoder']}")]
    if found.get("left_out"):
        lines.append(left_out_line(found["left_out"], found["utterances"]))
    if "times_real_time" in found:
        lines.append(f"{found['wall_seconds']:.1f} s with {found['threads']} thread"
                     f"{'s' * (found['threads'] != 1)}: "
                     f"{found['times_real_time']:.0f} times real time")
    lines += ["", *_table(found)]
    for value, part in found.get("parts", {}).items():
        lines += ["", f"{found['by']} {value}: {part['utterances']} utterances, {part['words']} "
                  "words", *_table(part)]
    if "policy_run" in found:
        run = found["policy_run"]
        lines += ["", f"policy: {percent(run['time_of_full_pass'])} % of the time of a full pass; "
                  f"its rule {percent(run['rule_of_groups'])} % of the time of the groups it ran"]
    return "\n".join(lines) + "\n"


def phrase_lines(part: dict[str, Any]) -> list[str]:
    """What was found of the phrases, as a table. part: `exits` with their depths, `phrases` as
    `Outcomes.report` has them, and perhaps the same of what was `chosen`."""
    found = part["phrases"]
    lines = [f"{found['said']} of {found['recordings']} recordings say one of the phrases",
             f"{'':>8}  {'right %':<24}{'right, rejected %':<24}{'others accepted %':<24}"
             f"{'layers':>7}"]
    named = [(f"exit {number}", *rows)
             for number, rows in enumerate(zip(found["exits"], part["exits"]), start=1)]
    if "chosen" in part:
        named.append(("policy", found["chosen"], part["chosen"]))
    for name, row, depth in named:
        cells = "".join(("     -" if row[share][0] is None else _rate(row[share], 0)).ljust(24)
                        for share in ("right", "rejected", "accepted"))
        lines.append(f"{name:>8}  {cells}{depth['depth']:>7.2f}")
    return lines


def left_out_line(left_out: int, used: int) -> str:
    """The line that says how many recordings a report leaves out."""
    return f"{left_out} of {used + left_out} recordings left out: they cannot be used"


def percent(value: float | None) -> str:
    """A share as a number of percent."""
    return "-" if value is None else f"{100 * value:.1f}"


def number(value: float | None) -> str:
    """A rate to two digits."""
    return "-" if value is None else f"{value:.2f}"


def interval_text(interval: Sequence[float | None] | None) -> str:
    """A share in % with its interval."""
    if interval is None or None in interval:
        return "-"
    value, low, high = interval
    return f"{value:.1f} ({low:.1f} to {high:.1f})"


def _rate(interval: Sequence[float | None], errors: int) -> str:
    """A rate with its interval; where it is undefined, how much was inserted."""
    rate, low, high = interval
    if rate is None:
        return f"     - ({errors} inserted)"
    return f"{rate:6.2f} ({number(low)}-{number(high)})"


_RATES = ("WER %", "wer", "word_errors"), ("CER %", "cer", "character_errors")


def _table(part: dict[str, Any]) -> list[str]:
    if "phrases" in part:
        return phrase_lines(part)
    # A table of scores knows nothing of characters.
    rates = [name for name in _RATES if name[1] == "wer" or any(
        row[name[2]] or row[name[1]][0] is not None for row in part["exits"])]
    lines = [f"{'':>8}  " + "".join(f"{name:<24}" for name, _, _ in rates)
             + f"{'layers':>7}{'MAC %':>7}{'time %':>7}  exits"]
    named = [(f"exit {number}", row) for number, row in enumerate(part["exits"], start=1)]
    named.append(("oracle", part["oracle"]))
    if "chosen" in part:
        named.append(("policy", part["chosen"]))
    for name, row in named:
        cells = "".join(_rate(row[rate], row[errors]).ljust(24) for _, rate, errors in rates)
        shown = "" if name.startswith("exit") else " ".join(map(str, row["histogram"]))
        lines.append(f"{name:>8}  {cells}{row['depth']:>7.2f}{percent(row['cost']):>7}"
                     f"{percent(row['time']):>7}  {shown}")
    if "against_mixture" in part:
        other = part["against_mixture"]
        value, low, high = other["relative"]
        lines.append(f"policy against fixed exits mixed to {other['depth']:.2f} layers: "
                     f"{number(other['mixture_wer'])} %, relative {value:+.1f} % ({low:+.1f} to "
                     f"{high:+.1f}) lower; {interval_text(other['closed'])} % of the way to the "
                     f"oracle there, {number(other['oracle_wer'])} %")
    return lines
