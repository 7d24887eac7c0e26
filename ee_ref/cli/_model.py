"""The options by which a command loads a model and shares its work."""

from __future__ import annotations

import argparse


def add_model(parser: argparse.ArgumentParser, threads: str) -> None:
    """--model, and what `add_backend` adds."""
    parser.add_argument("--model", metavar="M",
                        help="model file, or name of a bundled model (default: english)")
    add_backend(parser, threads)


def add_backend(parser: argparse.ArgumentParser, threads: str) -> None:
    """--backend, and --threads, None by default: `loading.thread_count` owns the number.

    threads: what they do.
    """
    parser.add_argument("--backend", choices=("native", "numpy"), default="native",
                        help="the C library, or the NumPy reference (default: native)")
    parser.add_argument("--threads", type=int, metavar="N",
                        help=f"{threads} (default: EE_REF_THREADS, or 1)")
