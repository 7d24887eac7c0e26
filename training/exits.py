"""The figures of docs/exits.md: fits policies to the dev split, judges them on the test split.

    python exits.py --data DATA [--json docs/exits.json]        measure (minutes), then draw
    python exits.py --json docs/exits.json --draw               tables and plots again from the JSON

The bundled model, as `ee-ref calibrate` left it. The test split is looked at here alone, and nothing is chosen by it.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np

import ee_ref
from ee_ref import exits
from ee_ref.calibration import CHOSEN_FROM, fit, plot, points, risk
from ee_ref.evaluation import figures, manifest, report, run
from ee_ref import model_file

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = ("speech-commands", "wake-words")
FAMILIES = (*CHOSEN_FROM, "least_confidence", "agreement", "entropy_speech", "path", "mean_confidence", "posterior",
            "posterior, per exit", "posterior_per_token")
LEVELS = (0.25, 0.5, 0.75)
NEAR = 0.1
SPLITS, BOUND, CONFIDENCE = 200, 2.0, 0.9
DEADLINE, DEADLINE_UTTERANCES = 0.06, 400


def measured(model, path, threads, posteriors):
    """(recordings, utterances, table, wall seconds) of a manifest."""
    recordings = manifest.read(path)
    begun = time.perf_counter()
    utterances = run.run(model, recordings, model.policies["balanced"], posteriors=posteriors, threads=threads)
    table = run.table(model, utterances, "plain")
    return recordings, utterances, table, time.perf_counter() - begun


def of_kind(recordings, commands):
    """Mask of the recordings: commands and wake phrases alone, or all."""
    return np.array([not commands or recording.fields["source"] in COMMANDS for recording in recordings])


def judged(dev, dev_groups, test):
    """Everything about one kind of speech: curves on dev, and on test the families at three depths and the points."""
    fold = fit.folds(dev_groups)
    known = fit.families(dev)
    curves = points.curves(dev, fold, {name: known[name] for name in FAMILIES})
    count = test.word_errors.shape[1]
    found = {
        "utterances": len(test), "words": int(test.words.sum()), "seconds": float(test.seconds.sum()),
        "exits": [figures.figures(test, np.full(len(test), exit)) for exit in range(count)],
        "oracle": figures.figures(test, figures.oracle(test)), "curves": {}, "levels": {},
    }
    for name in curves:
        path = []
        for policy in known[name](dev, [point["price"] for point in curves[name]]):
            choice = fit.choices(policy, test)
            whole = figures.figures(test, choice, draws=2)
            path.append({"wer": whole["wer"][0], **{key: whole[key] for key in ("depth", "depth_share", "time")}})
        found["curves"][name] = path
    for level in LEVELS:
        rows = {}
        for name, path in curves.items():
            near = min(path, key=lambda point: abs(point["depth_share"] - level))
            choice = fit.choices(*known[name](dev, [near["price"]]), test)
            rows[name] = {"dev_share": near["depth_share"], "dev_gain": near["wer"] - figures.mixture(dev, near["depth"])[0],
                          **figures.against_mixture(test, choice)}
        near = [name for name in CHOSEN_FROM if name != "fixed" and abs(rows[name]["dev_share"] - level) <= NEAR]
        best = min(near, key=lambda name: rows[name]["dev_gain"], default=None)
        found["levels"][str(level)] = {"best_on_dev": best, "families": rows}
    return found


def guarantee(table):
    """How often the proved bound is broken over random splits: half to calibrate on, half to look."""
    rng = np.random.default_rng(0)
    broken = proved = 0
    depth = []
    for split in range(SPLITS):
        order = rng.permutation(len(table))
        own, other = table.rows(order[: len(order) // 2]), table.rows(order[len(order) // 2:])
        point = points.guaranteed_point(own, points.Target("wer", BOUND), list(own.ids), CONFIDENCE,
                                        {name: fit.families(own)[name] for name in ["least_confidence, per exit"]}, seed=split)
        choice = fit.choices(exits.from_plain(point["policy"]), other)
        loss = risk.added_loss(other.word_errors, other.words, choice).mean()
        broken += loss > BOUND / 100
        proved += point["family"] != "fixed"
        depth.append(figures.figures(other, choice, draws=2)["depth_share"])
    return {"splits": SPLITS, "bound": BOUND, "confidence": CONFIDENCE, "broken": int(broken), "early": int(proved),
            "depth_share": float(np.mean(depth)), "utterances": len(table)}


def deadline(model, recordings):
    """Deadlines kept when every group is slowed down by a sleep, an utterance more than the next and unevenly."""
    rng = np.random.default_rng(0)
    encoder, kept, possible, chosen = model._encoder.exits, 0, 0, []
    chosen_recordings = [recordings[i] for i in rng.permutation(len(recordings))[:DEADLINE_UTTERANCES]]
    for recording in chosen_recordings:
        slow, reached = 1e-9 * rng.uniform(1, 4), []

        def slowed(features, slow=slow, reached=reached):
            costs = np.diff(model.config.costs(len(features)), prepend=0)
            for cost, out in zip(costs, encoder(features)):
                time.sleep(cost * slow * rng.uniform(0.8, 1.2))
                reached.append(time.perf_counter())
                yield out

        model._encoder.exits = slowed
        samples = ee_ref.audio.read(recording.path, model.config.sample_rate)
        policy = exits.FirstOf(exits.Deadline(DEADLINE), exits.Fixed(model.config.exits))
        begun = time.perf_counter()
        result = model.transcribe((samples, model.config.sample_rate), policy=policy)
        took = time.perf_counter() - begun
        after = took - (reached[-1] - begun)      # decoding, which exit 1 would have needed too
        if reached[0] - begun + after <= DEADLINE:
            possible += 1
            kept += took <= DEADLINE
            chosen.append(result.exit)
    del model._encoder.exits
    return {"milliseconds": 1000 * DEADLINE, "utterances": len(chosen_recordings), "possible": possible, "kept": kept,
            "histogram": np.bincount(np.array(chosen) - 1, minlength=model.config.exits).tolist()}


def rule_share(model, recordings):
    """Time of the rule of `balanced` over that of the groups before it: least of five runs of each utterance, summed."""
    groups = rules = 0.0
    for recording in recordings:
        features = model.features(ee_ref.audio.read(recording.path, model.config.sample_rate))
        runs = [model.run(features, model.policies["balanced"]) for _ in range(5)]
        groups += sum(map(min, zip(*(run.encoder_seconds for run in runs))))
        rules += sum(map(min, zip(*(run.rule_seconds for run in runs))))
    return rules / groups


def measure(data, threads):
    """All figures, as plain data."""
    model = ee_ref.load()
    dev_recordings, _, dev, _ = measured(model, data / "dev.jsonl", threads, True)
    test_recordings, _, test, _ = measured(model, data / "test.jsonl", threads, True)
    _, utterances, alone, wall = measured(model, data / "test.jsonl", 2, False)
    choice = report.policy_choice(utterances)
    sources = np.array([recording.fields["source"] for recording in test_recordings])
    found = {"layers": test.layers.tolist(), "split": "test", "speed": float(alone.seconds.sum() / wall),
             "isa": ee_ref.info.native_status().get("isa"), "checksum": f"{model.file.header_checksum:08x}",
             "rule": rule_share(model, test_recordings[::7]),
             "time": report.report(model, utterances, model.policies["balanced"], "plain")["policy_run"]["time_of_full_pass"],
             "calibrated": {name: {key: value for key, value in point.items() if key != "policy"} for name, point in
                            model_file.operating_points(model.file).items()}}
    groups = [manifest.group(recording) for recording in dev_recordings]
    for kind in ("commands", "all"):
        rows, own = of_kind(dev_recordings, kind == "commands"), of_kind(test_recordings, kind == "commands")
        part = test.rows(own)
        found[kind] = judged(dev.rows(rows), [g for g, kept in zip(groups, rows) if kept], part)
        found[kind]["points"] = {}
        for name, policy in model.policies.items():
            own_choice = fit.choices(policy, part)
            found[kind]["points"][name] = {**figures.figures(part, own_choice),
                                           "against": figures.against_mixture(part, own_choice)}
        found[kind]["guarantee"] = guarantee(part)
    if (fit.choices(model.policies["balanced"], test) != choice).any():
        raise SystemExit("the table and the policy itself choose different exits")
    found["sources"] = {
        source: {"exits": [figures.figures(part, np.full(len(part), exit)) for exit in range(len(test.layers))],
                 "balanced": figures.figures(part, choice[sources == source])}
        for source in sorted(set(sources)) for part in [test.rows(sources == source)]}
    found["deadline"] = deadline(model, test_recordings)
    return found


def cell(triple):
    """rate (low-high)"""
    return "{:.2f} ({:.2f} to {:.2f})".format(*triple)


def tables(found):
    """{name: Markdown}"""
    layers = found["layers"][-1]
    made = {}
    for kind in ("commands", "all"):
        part = found[kind]
        lines = [f"| {part['utterances']} utterances, {part['words']} words | WER % | CER % | layers | MAC % | time % |",
                 "|---|---:|---:|---:|---:|---:|"]
        named = [(f"exit {n}", row) for n, row in enumerate(part["exits"], 1)]
        named += [("oracle", part["oracle"])] + [(f"`{name}`", row) for name, row in part["points"].items()]
        for name, row in named:
            lines.append(f"| {name} | {cell(row['wer'])} | {cell(row['cer'])} | {row['depth']:.2f} "
                         f"| {100 * row['cost']:.0f} | {100 * row['time']:.0f} |")
        made[f"exits-{kind}"] = "\n".join(lines)
        lines = ["| policy | " + " | ".join(f"{100 * level:.0f} %" for level in LEVELS) + " |",
                 "|---|" + "---:|" * len(LEVELS)]
        names = list(next(iter(reversed(part["levels"].values())))["families"])
        for name in names:
            cells = []
            for level in part["levels"].values():
                row = level["families"][name]
                star = "**" if name == level["best_on_dev"] else ""
                cells.append("{}{:.2f} at {:.2f}: {:+.1f} ({:+.1f} to {:+.1f}){}".format(
                    star, row["wer"], row["depth"], *row["relative"], star))
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
        made[f"levels-{kind}"] = "\n".join(lines)
    lines = ["| test split | WER % exit 1 | exit 6 | `balanced` | less exit 6 | layers | share |",
             "|---|---:|---:|---:|---:|---:|---:|"]
    for name, part in [*found["sources"].items(), *((f"all of {kind}", {
            "exits": found[kind]["exits"], "balanced": found[kind]["points"]["balanced"]}) for kind in ("commands", "all"))]:
        row = part["balanced"]
        lines.append(f"| {name} | {part['exits'][0]['wer'][0]:.2f} | {part['exits'][-1]['wer'][0]:.2f} "
                     f"| {cell(row['wer'])} | {cell(row['minus_full'])} | {row['depth']:.2f} | {100 * row['depth'] / layers:.0f} % |")
    made["balanced"] = "\n".join(lines)
    lines = ["| what | figure |", "|---|---|"]
    for kind in ("commands", "all"):
        row = found[kind]["guarantee"]
        lines.append(f"| bound of {row['bound']:g} % at confidence {row['confidence']:g}, {kind}, {row['splits']} random splits "
                     f"of {row['utterances']} | broken {row['broken']} times, {row['early']} stop early, "
                     f"{100 * row['depth_share']:.0f} % of the layers |")
    row = found["deadline"]
    lines += [f"| deadline of {row['milliseconds']:g} ms, groups slowed down 1 to 4 ns a multiply-accumulate | kept by {row['kept']} of the "
              f"{row['possible']} utterances where exit 1 can keep it; exits {row['histogram']} |",
              f"| the rule of `balanced`, share of the time of the groups it ran | {100 * found['rule']:.1f} % |",
              f"| its encoder and rule, share of the time of full passes, whole test split | {100 * found['time']:.0f} % |",
              f"| the test split run and scored, int8, 2 threads, {found['isa']} | {found['speed']:.0f} times real time |"]
    made["checks"] = "\n".join(lines)
    return made


def draw(found, page):
    """Put the tables into the page, between their marks, and draw the plots beside it."""
    text = page.read_text()
    for name, table in tables(found).items():
        begin, end = f"<!-- {name} -->\n", f"\n<!-- end of {name} -->"
        before, rest = text.split(begin)
        text = before + begin + table + end + rest.split(end, 1)[1]
    page.write_text(text)
    for kind in ("commands", "all"):
        path = page.with_name(f"exits-{kind}.svg")
        shown = {name: {"wer": row["wer"][0], "depth": row["depth"], "time": row["time"]}
                 for name, row in found[kind]["points"].items()}
        path.write_bytes(plot.draw({"layers": found["layers"], "split": f"test, {kind}", **found[kind], "points": shown},
                                   path, ("entropy", "entropy, per exit", "posterior", "patience",
                                          "least_confidence, per exit", "learned")))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="the data pack")
    parser.add_argument("--json", type=Path, default=ROOT / "docs" / "exits.json")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--draw", action="store_true", help="measure nothing, draw from the JSON")
    args = parser.parse_args()
    if not args.draw:
        if args.data is None:
            parser.error("--data is needed to measure")
        args.json.write_text(json.dumps(measure(args.data, args.threads), indent=1) + "\n")
    draw(json.loads(args.json.read_text()), ROOT / "docs" / "exits.md")


if __name__ == "__main__":
    main()
