"""`ee-ref info`: what a model file holds and what each exit costs."""

from __future__ import annotations

import argparse
import json
from typing import Any

from ..config import WAVEFORMS

HELP = "what a model file holds and what each exit costs"
DESCRIPTION = (
    "Check a model file and describe it: configuration, parameters, cost of each exit, "
    "checksums, and the instruction set that the native backend uses.")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", nargs="?", metavar="MODEL",
                        help="model file, or name of a bundled model (default: english)")
    parser.add_argument("--json", action="store_true", help="everything, as JSON")
    parser.add_argument("--seconds", type=float, metavar="S",
                        help="also flash and RAM on a device for audio of up to S seconds")
    parser.add_argument("--checksums", action="store_true", help="also the CRC-32 of every tensor")


def run(args: argparse.Namespace) -> int:
    """Print the description of a model file on stdout."""
    from .. import model_file
    from ..info import describe
    from ..loading import model_path, thread_count
    from ..plan import device_plan

    file = model_file.read(model_path(args.model))
    found = describe(file, threads=thread_count())
    if args.seconds is not None:
        found["device"] = device_plan(file.config, file.tokens, file.special, args.seconds)
    if args.json:
        print(json.dumps(found, ensure_ascii=False, indent=2))
        return 0
    print(_text(found))
    if args.seconds is not None:
        print("\n" + _device(found["device"]))
    if args.checksums:
        print()
        for name, checksum in found["checksums"]["tensors"].items():
            print(f"{checksum}  {name}")
    return 0


def _text(found: dict[str, Any]) -> str:
    config, native = found["config"], found["native"]
    layers = "+".join(map(str, config["layers_per_exit"]))
    rows = [
        ("model", found["path"] + (f" ({found['name']})" if found["name"] else "")),
        ("size", f"{found['bytes']:,} bytes, {found['tensors']} tensors, "
                 f"format version {found['format_version']} ({config['dtype']})"),
        ("parameters", f"{found['parameters']:,} (norms folded in) and "
                       f"{found['constants']:,} constants "
                       "(positions, normalisation, scales)"),
        ("encoder", f"{found['architecture']}: {config['exits']} exits after {layers} layers, "
                    f"width {config['dim']}, {config['heads']} heads, "
                    f"feed-forward {config['ff']}, kernel {config['kernel']}, "
                    + (f"at most {config['max_frames']} frames" if config["max_frames"]
                       else "any number of frames")),
        ("front end", _front_end(config)),
        ("labels", f"{config['vocab']}: blank {config['blank']}, never in text: "
                   + (" ".join(map(str, found["special"])) or "none")),
        ("checksum", f"{found['checksums']['header']} (CRC-32 of the header, which holds that of "
                     "every tensor)"),
        ("native", f"{native['isa']} (this CPU and build: {', '.join(native['isas'])})"
                   if native["available"] else f"not available: {native['reason']}"),
        ("threads", f"{found['threads']} by default (EE_REF_THREADS, or 1)"),
    ]
    if "decoder" in found:
        rows.insert(4, ("decoder", _attention(found["decoder"])))
    lines = [f"{label:<12}{value}" for label, value in rows]
    lengths = list(found["exits"][0]["multiply_accumulates"])
    lines += ["", "up to exit  layers  parameters  file bytes" + "".join(
        f"{'MAC for ' + length:>18}" for length in lengths)]
    for exit_ in found["exits"]:
        costs = "".join(f"{'too long' if cost is None else f'{cost:,}':>18}"
                        for cost in exit_["multiply_accumulates"].values())
        lines.append(f"{exit_['exit']:>10}{exit_['layers']:>8}{exit_['parameters']:>12,}"
                     f"{exit_['bytes']:>12,}{costs}")
    costs = "".join(f"{'too long' if cost is None else f'{cost:,}':>18}"
                    for cost in found["stem"]["multiply_accumulates"].values())
    lines.append(f"{'stem':>10}{0:>8}{found['stem']['parameters']:>12,}{'':>12}{costs}")
    return "\n".join(lines)


def _attention(decoder: dict[str, Any]) -> str:
    costs = ", ".join(f"{cost:,} for {what}"
                      for what, cost in decoder["multiply_accumulates"].items())
    return (f"an attention decoder: {decoder['layers']} layers an exit, at most "
            f"{decoder['max_tokens']} labels, start {decoder['start_token']}, end "
            f"{decoder['end_token']}, padding {decoder['pad_token']}; MAC {costs}")


def _front_end(config: dict[str, Any]) -> str:
    if config["frontend"] in WAVEFORMS:
        how = "of zero mean and unit variance" if config["frontend"] == "waveform" else "as given"
        return f"{config['frontend']}: samples {how}, {config['sample_rate']} Hz"
    return (f"{config['frontend']}: {config['mels']} mels, {config['sample_rate']} Hz, "
            f"FFT {config['n_fft']}, window {config['win_length']}, "
            f"hop {config['hop_length']}, padding {config['pad']}")


def _device(plan: dict[str, Any]) -> str:
    """Flash and RAM up to each exit, in bytes."""
    lines = [
        f"on a device, for audio of up to {plan['seconds']:g} s ({plan['frames']} frames of "
        f"features, {plan['rows']} of the encoder), in bytes:",
        f"features {plan['features']:,}, arena {plan['arena']:,} (before it begins, the front end "
        f"uses {plan['frontend']:,} of it), stack {plan['stack']:,}; "
        f"samples, where RAM keeps them, {plan['samples']:,}"
        + (f"; attention decoder {plan['decoder']:,}" if plan["decoder"] else ""),
        "",
        "up to exit       flash       model    RAM peak",
    ]
    columns = zip(plan["flash"], plan["model"], plan["peak"])
    lines += [f"{exit_:>10}{flash:>12,}{model:>12,}{peak:>12,}"
              for exit_, (flash, model, peak) in enumerate(columns, start=1)]
    return "\n".join(lines)
