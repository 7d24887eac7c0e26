"""The figures of docs/exits.md for the paper's own system: its authors' scores and errors.

    python released.py --scores FILE.csv    measure (a minute), then draw
    python released.py                      tables again from the JSON

FILE is a table of scores (docs/exits.md, tables of scores) made from the per-utterance results of
github.com/augustgw/wav2vec2-ee: columns utterance, subset, words, and for exits 1 to 6
greedy_errors, lexicon_errors, entropy with its sign turned, and posterior.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

from ee_ref.calibration import fit, points
from ee_ref.evaluation import score_table
from exits import ROOT, Figures, filled, markdown, of_exits

LAYERS = (2, 4, 6, 8, 10, 12)
LEVELS = (0.5, 0.6, 0.7)
PRICES = 161
ERRORS = ("lexicon_errors", "greedy_errors")
KNOWN = "worth, errors so far known"
"""No rule, but a bound for rules: the errors at this exit and the one before are among the scores,
as if confidence were perfect."""


def measured(path: Path, errors: str) -> Figures:
    """Every family by cross-validation over utterances, and `worth` on each subset."""
    whole = score_table.read(path, errors, LAYERS)
    families = {**fit.families(whole.table), **fit.parts_of_worth(whole.table)}
    scores = {**whole.table.scores, "errors": whole.table.word_errors.astype(float)}
    table = replace(whole.table, scores=scores)
    families[KNOWN] = fit.worth(("entropy", "posterior", "errors"), "words")
    fold = fit.folds(table.ids)
    curves = points.curves(table, fold, families, count=PRICES)
    subsets = whole.values("subset")
    found: Figures = {
        "utterances": len(table), "words": int(table.words.sum()), "exits": of_exits(table),
        "levels": points.levels(table, fold, families, curves, LEVELS), "subsets": {}}
    for subset in sorted(set(subsets)):
        part = table.rows(subsets == subset)
        own = {"worth": families["worth"]}
        inside = fit.folds(part.ids)
        curve = points.curves(part, inside, own, count=PRICES)
        found["subsets"][subset] = {
            "utterances": len(part), "words": int(part.words.sum()),
            "levels": points.levels(part, inside, own, curve, LEVELS)}
    return found


def shown(row: Figures) -> str:
    """rate at depth: share of the way (interval)"""
    if row["closed"] is None:
        return f"{row['wer']:.2f} at {row['depth']:.2f}"
    return "{:.2f} at {:.2f}: {:.0f} ({:.0f} to {:.0f})".format(
        row["wer"], row["depth"], *row["closed"])


def by_level(found: Figures) -> str:
    """Every family at each level, by either decoder."""
    first, *_ = found[ERRORS[0]]["levels"].values()
    rows = [(f"{name}, {errors.removesuffix('_errors')}",
             *(shown(level[name]) for level in found[errors]["levels"].values()))
            for errors in ERRORS for name in first if name != "fixed"]
    rows += [(f"worth, lexicon, fitted to {subset} alone",
              *(shown(level["worth"]) for level in part["levels"].values()))
             for subset, part in found[ERRORS[0]]["subsets"].items()]
    return markdown(("rule, decoder", *(f"{level:.0%}" for level in LEVELS)), rows)


def by_exit(found: Figures) -> str:
    """Fixed exits mixed, and the oracle, at the depths of `worth`; and every exit."""
    rows = []
    for errors in ERRORS:
        name = errors.removesuffix("_errors")
        rows.append((f"{name}: exits 1 to 6", " ".join(
            f"{row['wer'][0]:.2f}" for row in found[errors]["exits"])))
        for key, of in (("mixture_wer", "fixed exits mixed"), ("wer", "`worth`"),
                        ("oracle_wer", "oracle")):
            rows.append((f"{name}: {of}", ", ".join(
                f"{level['worth'][key]:.2f} at {level['worth']['depth']:.2f}"
                for level in found[errors]["levels"].values())))
    head = f"{found[ERRORS[0]]['utterances']} utterances, {found[ERRORS[0]]['words']} words"
    return markdown((head, "WER %"), rows, right=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scores", type=Path, help="the table; without it, draw from the JSON")
    args = parser.parse_args()
    numbers = ROOT / "docs" / "exits-released.json"
    if args.scores is not None:
        found = {errors: measured(args.scores, errors) for errors in ERRORS}
        numbers.write_text(json.dumps(found, indent=1) + "\n")
    found = json.loads(numbers.read_text())
    page = ROOT / "docs" / "exits.md"
    text = filled(page.read_text(), "exits-released", by_exit(found))
    page.write_text(filled(text, "levels-released", by_level(found)))


if __name__ == "__main__":
    main()
