"""int8 mode on a CPU that flushes subnormal numbers to zero: the same bytes (docs/numerics.md).

Vector units of microcontrollers (MVE) do so and cannot be told otherwise. Here this machine's CPU
is told to, operands and results, while NumPy and the C library compute.
"""

from __future__ import annotations

import ctypes
import subprocess
from contextlib import contextmanager

import numpy as np
import pytest

from ee_ref import audio, loading, ops
from ee_ref.conformance.cases import cases_of, op_names
from ee_ref.conformance.draw import (
    SMALL,
    SMALL_AED,
    SMALL_LSTM,
    SMALL_SPLITFORMER,
    SMALL_ZIPFORMER,
    random_features,
    random_int8_model,
)
from ee_ref.encoder import ReferenceEncoder
from ee_ref.exits import scores
from ee_ref.frontend import front_end
from tests import speech_layouts
from tests.aed_layouts import LABELS
from tests.support import SMALL_SEED
from tests.test_native_qs8 import assert_same_bytes, run

SWITCH = r"""
#if defined(__SSE__)
#include <immintrin.h>
/* FTZ and DAZ of MXCSR. */
void flush(int on) { _mm_setcsr((_mm_getcsr() & ~0x8040u) | (on ? 0x8040u : 0)); }
#elif defined(__aarch64__)
/* FZ of FPCR. */
void flush(int on)
{
    unsigned long control;
    __asm__ volatile("mrs %0, fpcr" : "=r"(control));
    control = (control & ~(1ul << 24)) | (on ? 1ul << 24 : 0);
    __asm__ volatile("msr fpcr, %0" : : "r"(control));
}
#else
#error "no switch known"
#endif
"""


@pytest.fixture(scope="module")
def flushed(tmp_path_factory):
    """A context in which this thread flushes."""
    folder = tmp_path_factory.mktemp("flush")
    (folder / "flush.c").write_text(SWITCH)
    built = subprocess.run(
        ["cc", "-shared", "-fPIC", "-o", folder / "flush.so", folder / "flush.c"],
        capture_output=True, text=True)
    if built.returncode:
        pytest.skip(f"cannot switch this CPU: {built.stderr.strip().splitlines()[-1]}")
    switch = ctypes.CDLL(str(folder / "flush.so")).flush
    smallest, factor = np.full(64, 2.0**-126, np.float32), np.float32(0.5)

    @contextmanager
    def context():
        switch(1)
        try:
            assert not (smallest * factor).any(), "this CPU does not flush"
            yield
        finally:
            switch(0)

    return context


@pytest.mark.parametrize("op", op_names("qs8"))
def test_ops_give_the_same_bytes(op, flushed, isa):
    from ee_ref import native

    for case in cases_of(op):
        expected, arguments = run(ops, op, case.arguments()), case.arguments()
        for package in (ops, native):
            with flushed():
                found = run(package, op, arguments)
            assert_same_bytes(found, expected, f"{package.__name__}.{op}/{case.name} on {isa}")


@pytest.mark.parametrize("config", [SMALL, SMALL_SPLITFORMER, SMALL_ZIPFORMER, SMALL_LSTM,
                                    SMALL_AED], ids=lambda one: one.architecture)
def test_a_whole_model_gives_the_same_bytes(config, flushed, isa):
    config, tensors = random_int8_model(config, SMALL_SEED)
    features = random_features(80, 5, SMALL.mels)
    for scale in (1.0, 2.0**-35, 2.0**-120):
        judge(config, tensors, features * np.float32(scale), flushed, f"small, {scale:g}, {isa}")


@pytest.mark.parametrize("name", speech_layouts.MODELS)
def test_a_model_of_samples_gives_the_same_bytes(name, flushed, isa):
    config, tensors = speech_layouts.int8_model(speech_layouts.MODELS[name])
    for scale in (1.0, 2.0**-35, 2.0**-120):
        samples = speech_layouts.clip(2001) * np.float32(scale)
        features = front_end(config, {}, "numpy")(samples)
        judge(config, tensors, features, flushed, f"{name}, {scale:g}, {isa}")


def test_the_bundled_model_gives_the_same_bytes(flushed, isa):
    model = loading.load()
    samples = audio.read(loading.bundled_model().parent / "demo.wav", model.config.sample_rate)
    judge(model.config, model.file.tensors, model.features(samples)[:300], flushed,
          f"bundled, {isa}")


def said(encoder, out):
    """Log-probabilities of an attention decoder after some labels."""
    decoder = encoder.decoder(out.exit, out.hidden, 1, len(LABELS))
    return np.concatenate([decoder.step([label]) for label in LABELS])


def judge(config, tensors, features, flushed, what):
    from ee_ref.native._session import NativeModel

    expected = list(ReferenceEncoder(config, tensors).exits(features))
    for encoder in (ReferenceEncoder(config, tensors), NativeModel(config, tensors)):
        with flushed():
            found = list(encoder.exits(features))
            measured = [scores.measure(out.log_probs, config.blank)[0] for out in found]
        assert_same_bytes([out.log_probs for out in found],
                          [out.log_probs for out in expected], what)
        if config.has_decoder:
            with flushed():
                steps = [said(encoder, out) for out in found]
            assert_same_bytes(steps, [said(ReferenceEncoder(config, tensors), out)
                                      for out in expected], f"{what}: decoder")
        assert measured == [scores.measure(out.log_probs, config.blank)[0] for out in expected]
