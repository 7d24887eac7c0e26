"""The figures of docs/exits.md: fits policies to the dev split, judges them on the test split.

    python exits.py --data DATA [--model english]   measure (minutes), then draw
    python exits.py --draw [--model english]        tables and plots again from the JSON

A bundled model, as `ee-ref calibrate` left it. The test split is looked at here alone, and
nothing is chosen by it.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import ee_ref
from ee_ref import exits, model_file
from ee_ref.calibration import CHOSEN_FROM, fit, plot, points, risk
from ee_ref.evaluation import figures, manifest, report, run
from ee_ref.evaluation.manifest import Recording
from ee_ref.evaluation.run import Measurement, Table

Figures = dict[str, Any]

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = ("speech-commands", "wake-words")
READ = ("librispeech-dev-clean", "librispeech-test-other", "common-voice", "speechocean762")
KINDS = {"commands": {"commands": COMMANDS, "all": COMMANDS + READ},
         "english": {"english-read": READ, "english-commands": COMMANDS}}
"""By bundled model: the kinds of speech that it is judged on, and their sources."""
FAMILIES = (*CHOSEN_FROM, "least_confidence", "agreement", "entropy_speech", "path",
            "mean_confidence", "posterior", "posterior, per exit", "posterior_per_token")
DRAWN = ("entropy", "entropy, per exit", "posterior", "patience", "least_confidence, per exit",
         "learned")
LEVELS = (0.25, 0.5, 0.75)
NEAR = 0.1
SPLITS, BOUND, CONFIDENCE = 200, 2.0, 0.9
DEADLINES, DEADLINE_UTTERANCES = {"commands": 0.06, "english": 0.5}, 400
"""Deadlines, in seconds, that slowed-down models can keep for some utterances and not for all."""


def measured(
    model: ee_ref.Model, recordings: Sequence[Recording], threads: int, posteriors: bool
) -> tuple[list[Measurement], Table, float]:
    """(utterances, table, wall seconds) of recordings."""
    begun = time.perf_counter()
    utterances = run.run(model, recordings, model.policies["balanced"], posteriors=posteriors,
                         threads=threads)
    table = run.table(model, utterances, "plain")
    return utterances, table, time.perf_counter() - begun


def of_sources(recordings: Sequence[Recording], sources: Sequence[str]) -> np.ndarray:
    """Mask of the recordings that are of one of the sources."""
    return np.array([recording.fields["source"] in sources for recording in recordings])


def of_exits(table: Table) -> list[Figures]:
    """Figures of every fixed exit."""
    return [figures.figures(table, np.full(len(table), exit))
            for exit in range(table.word_errors.shape[1])]


def judged(dev: Table, dev_groups: Sequence[str], test: Table) -> Figures:
    """Everything about one kind of speech.

    Curves are those of dev; on test come the families at three depths, and the points.
    """
    known = fit.families(dev)
    curves = points.curves(dev, fit.folds(dev_groups), {name: known[name] for name in FAMILIES})
    return {
        "utterances": len(test), "words": int(test.words.sum()),
        "seconds": float(test.seconds.sum()), "exits": of_exits(test),
        "oracle": figures.figures(test, figures.oracle(test)),
        "curves": {name: on_test(known[name](dev, [point["price"] for point in path]), test)
                   for name, path in curves.items()},
        "levels": {str(level): at_level(level, curves, known, dev, test) for level in LEVELS},
    }


def on_test(path: Sequence[exits.AnyPolicy], test: Table) -> list[Figures]:
    """A point for each policy of a path."""
    found = [figures.figures(test, fit.choices(policy, test), draws=2) for policy in path]
    return [{"wer": row["wer"][0], **{key: row[key] for key in ("depth", "depth_share", "time")}}
            for row in found]


def at_level(level: float, curves: dict[str, list[Figures]], known: dict[str, fit.Fit],
             dev: Table, test: Table) -> Figures:
    """The families where they use about this share of the layers, and the best of them on dev."""
    rows = {}
    for name, path in curves.items():
        point = min(path, key=lambda point: abs(point["depth_share"] - level))
        choice = fit.choices(*known[name](dev, [point["price"]]), test)
        rows[name] = {"dev_share": point["depth_share"],
                      "dev_gain": point["wer"] - figures.mixture(dev, point["depth"])[0],
                      **figures.against_mixture(test, choice)}
    near = [name for name in CHOSEN_FROM
            if name != "fixed" and abs(rows[name]["dev_share"] - level) <= NEAR]
    best = min(near, key=lambda name: rows[name]["dev_gain"], default=None)
    return {"best_on_dev": best, "families": rows}


def guarantee(table: Table) -> Figures:
    """How often the proved bound is broken over random splits: half to calibrate, half to look."""
    rng = np.random.default_rng(0)
    broken = proved = 0
    depth = []
    for split in range(SPLITS):
        order = rng.permutation(len(table))
        own, other = np.split(order, [len(order) // 2])
        own, other = table.rows(own), table.rows(other)
        family = "least_confidence, per exit"
        point = points.guaranteed_point(
            own, points.Target("wer", BOUND), list(own.ids), CONFIDENCE,
            {family: fit.families(own)[family]}, seed=split)
        choice = fit.choices(exits.from_plain(point["policy"]), other)
        broken += risk.added_loss(other.word_errors, other.words, choice).mean() > BOUND / 100
        proved += point["family"] != "fixed"
        depth.append(figures.figures(other, choice, draws=2)["depth_share"])
    return {"splits": SPLITS, "bound": BOUND, "confidence": CONFIDENCE, "broken": int(broken),
            "early": int(proved), "depth_share": float(np.mean(depth)), "utterances": len(table)}


def deadline(model: ee_ref.Model, recordings: Sequence[Recording], seconds: float) -> Figures:
    """Deadlines kept when every group is slowed down by a sleep.

    An utterance more than the next, and unevenly.
    """
    rng = np.random.default_rng(0)
    encoder, kept, possible, chosen = model._encoder.exits, 0, 0, []
    chosen_recordings = [recordings[i]
                         for i in rng.permutation(len(recordings))[:DEADLINE_UTTERANCES]]
    for recording in chosen_recordings:
        slow: float = 1e-9 * rng.uniform(1, 4)
        reached: list[float] = []

        def slowed(features: np.ndarray, slow: float = slow, reached: list[float] = reached
                   ) -> Iterator[Any]:
            costs = np.diff(model.config.costs(len(features)), prepend=0)
            for cost, out in zip(costs, encoder(features)):
                time.sleep(cost * slow * rng.uniform(0.8, 1.2))
                reached.append(time.perf_counter())
                yield out

        model._encoder.exits = slowed
        samples = ee_ref.audio.read(recording.path, model.config.sample_rate)
        policy = exits.FirstOf(exits.Deadline(seconds), exits.Fixed(model.config.exits))
        begun = time.perf_counter()
        result = model.transcribe((samples, model.config.sample_rate), policy=policy)
        took = time.perf_counter() - begun
        after = took - (reached[-1] - begun)  # decoding, which exit 1 would have needed too
        if reached[0] - begun + after <= seconds:
            possible += 1
            kept += took <= seconds
            chosen.append(result.exit)
    del model._encoder.exits
    histogram = np.bincount(np.array(chosen) - 1, minlength=model.config.exits).tolist()
    return {"milliseconds": 1000 * seconds, "utterances": len(chosen_recordings),
            "possible": possible, "kept": kept, "histogram": histogram}


def rule_share(model: ee_ref.Model, recordings: Sequence[Recording]) -> float:
    """Time of the rule of `balanced` over that of the groups before it.

    Least of five runs of each utterance, summed.
    """
    groups = rules = 0.0
    for recording in recordings:
        features = model.features(run.samples_of(recording, model))
        runs = [model.run(features, model.policies["balanced"]) for _ in range(5)]
        groups += sum(map(min, zip(*(run.encoder_seconds for run in runs))))
        rules += sum(map(min, zip(*(run.rule_seconds for run in runs))))
    return rules / groups


def measure(data: Path, name: str, threads: int) -> Figures:
    """All figures of a bundled model, as plain data."""
    model = ee_ref.load(name)
    dev_recordings, recordings = (manifest.read(data / f"{split}.jsonl")
                                  for split in ("dev", "test"))
    _, dev, _ = measured(model, dev_recordings, threads, True)
    _, test, _ = measured(model, recordings, threads, True)
    utterances, alone, wall = measured(model, recordings, 2, False)
    choice = report.policy_choice(utterances)
    if (fit.choices(model.policies["balanced"], test) != choice).any():
        raise SystemExit("the table and the policy itself choose different exits")
    policy_run = report.report(model, utterances, model.policies["balanced"], "plain")["policy_run"]
    found: Figures = {
        "model": name, "layers": test.layers.tolist(), "split": "test",
        "speed": float(alone.seconds.sum() / wall), "isa": ee_ref.info.native_status().get("isa"),
        "checksum": f"{model.file.header_checksum:08x}",
        "rule": rule_share(model, recordings[::7]), "time": policy_run["time_of_full_pass"],
        "calibrated": {name: {key: value for key, value in point.items() if key != "policy"}
                       for name, point in model_file.operating_points(model.file).items()},
    }
    groups = np.array([manifest.group(recording) for recording in dev_recordings])
    for kind, own_sources in KINDS[name].items():
        rows = of_sources(dev_recordings, own_sources)
        part = test.rows(of_sources(recordings, own_sources))
        found[kind] = judged(dev.rows(rows), groups[rows].tolist(), part)
        choices = {point: fit.choices(policy, part) for point, policy in model.policies.items()
                   if point != "phrases"}  # which needs phrases
        found[kind]["points"] = {
            point: {**figures.figures(part, own), "against": figures.against_mixture(part, own)}
            for point, own in choices.items()}
        found[kind]["guarantee"] = guarantee(part)
    sources = np.array([recording.fields["source"] for recording in recordings])
    found["sources"] = {
        source: {"exits": of_exits(test.rows(sources == source)),
                 "balanced": figures.figures(test.rows(sources == source),
                                             choice[sources == source])}
        for source in sorted(set(sources))}
    found["deadline"] = deadline(model, recordings, DEADLINES[name])
    return found


def cell(interval: Sequence[float]) -> str:
    """rate (low to high)"""
    return "{:.2f} ({:.2f} to {:.2f})".format(*interval)


def markdown(head: Sequence[str], rows: Sequence[Sequence[object]], right: bool = True) -> str:
    """A table; right: all columns but the first are aligned there."""
    rule = ("---", *(("---:" if right else "---",) * (len(head) - 1)))
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in (head, *rows)]
    return "\n".join([lines[0], "|" + "|".join(rule) + "|", *lines[1:]])


def filled(text: str, name: str, table: str) -> str:
    """The text of a page with a table between its marks."""
    begin, end = f"<!-- {name} -->\n", f"\n<!-- end of {name} -->"
    before, rest = text.split(begin)
    return before + begin + table + end + rest.split(end, 1)[1]


def tables(found: Figures) -> dict[str, str]:
    """{name: Markdown}"""
    made = {f"balanced-{found['model']}": balanced(found),
            f"checks-{found['model']}": checks(found)}
    for kind in KINDS[found["model"]]:
        made[f"exits-{kind}"] = by_exit(found[kind])
        made[f"levels-{kind}"] = by_level(found[kind]["levels"])
    return made


def by_exit(part: Figures) -> str:
    """Every exit, the oracle and the points."""
    named = {**{f"exit {number}": row for number, row in enumerate(part["exits"], start=1)},
             "oracle": part["oracle"],
             **{f"`{name}`": row for name, row in part["points"].items()}}
    return markdown(
        (f"{part['utterances']} utterances, {part['words']} words", "WER %", "CER %", "layers",
         "MAC %", "time %"),
        [(name, cell(row["wer"]), cell(row["cer"]), f"{row['depth']:.2f}",
          f"{100 * row['cost']:.0f}", f"{100 * row['time']:.0f}") for name, row in named.items()])


def by_level(levels: Figures) -> str:
    """Every family at each depth; that chosen on dev in bold."""
    def shown(name: str, level: Figures) -> str:
        row = level["families"][name]
        star = "**" if name == level["best_on_dev"] else ""
        return "{}{:.2f} at {:.2f}: {:+.1f} ({:+.1f} to {:+.1f}){}".format(
            star, row["wer"], row["depth"], *row["relative"], star)

    *_, last = levels.values()
    return markdown(("policy", *(f"{100 * level:.0f} %" for level in LEVELS)), [
        (name, *(shown(name, level) for level in levels.values())) for name in last["families"]])


def balanced(found: Figures) -> str:
    """The point `balanced` on each source of speech."""
    parts = {**found["sources"], **{
        f"all of {kind}": {"exits": found[kind]["exits"],
                           "balanced": found[kind]["points"]["balanced"]}
        for kind in KINDS[found["model"]]}}
    rows = []
    for name, part in parts.items():
        row, (first, *_, last) = part["balanced"], part["exits"]
        rows.append((name, f"{first['wer'][0]:.2f}", f"{last['wer'][0]:.2f}", cell(row["wer"]),
                     cell(row["minus_full"]), f"{row['depth']:.2f}",
                     f"{100 * row['depth'] / found['layers'][-1]:.0f} %"))
    deepest = f"exit {len(found['layers'])}"
    return markdown(("test split", "WER % exit 1", deepest, "`balanced`", f"less {deepest}",
                     "layers", "share"), rows)


def checks(found: Figures) -> str:
    """What the page claims besides."""
    rows = []
    for kind in KINDS[found["model"]]:
        row = found[kind]["guarantee"]
        rows.append((
            f"bound of {row['bound']:g} % at confidence {row['confidence']:g}, {kind}, "
            f"{row['splits']} random splits of {row['utterances']}",
            f"broken {row['broken']} times, {row['early']} stop early, "
            f"{100 * row['depth_share']:.0f} % of the layers"))
    row = found["deadline"]
    rows += [
        (f"deadline of {row['milliseconds']:g} ms, groups slowed down 1 to 4 ns a "
         "multiply-accumulate",
         f"kept by {row['kept']} of the {row['possible']} utterances where exit 1 can keep it; "
         f"exits {row['histogram']}"),
        ("the rule of `balanced`, share of the time of the groups it ran",
         f"{100 * found['rule']:.1f} %"),
        ("its encoder and rule, share of the time of full passes, whole test split",
         f"{100 * found['time']:.0f} %"),
        (f"the test split run and scored, int8, 2 threads, {found['isa']}",
         f"{found['speed']:.0f} times real time")]
    return markdown(("what", "figure"), rows, right=False)


def draw(found: Figures, page: Path) -> None:
    """Put the tables into the page, between their marks, and draw the plots beside it."""
    text = page.read_text()
    for name, table in tables(found).items():
        text = filled(text, name, table)
    page.write_text(text)
    for kind in KINDS[found["model"]]:
        path = page.with_name(f"exits-{kind}.svg")
        shown = {name: {"wer": row["wer"][0], "depth": row["depth"], "time": row["time"]}
                 for name, row in found[kind]["points"].items()}
        drawn = {"layers": found["layers"], "split": f"test, {kind}", **found[kind],
                 "points": shown}
        path.write_bytes(plot.draw(drawn, path, DRAWN))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="the data pack")
    parser.add_argument("--model", choices=sorted(KINDS), default="commands")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--draw", action="store_true", help="measure nothing, draw from the JSON")
    args = parser.parse_args()
    numbers = ROOT / "docs" / f"exits-{args.model}.json"
    if not args.draw:
        if args.data is None:
            parser.error("--data is needed to measure")
        found = measure(args.data, args.model, args.threads)
        numbers.write_text(json.dumps(found, indent=1) + "\n")
    draw(json.loads(numbers.read_text()), ROOT / "docs" / "exits.md")


if __name__ == "__main__":
    main()
