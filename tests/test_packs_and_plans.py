"""training/packs.py and plans.py: what is written is read, and what is drawn fits its row."""

from __future__ import annotations

import itertools
import sys
from dataclasses import replace

import numpy as np
import pytest

from ee_ref.errors import FileError
from tests.conftest import ROOT

sys.path.append(str(ROOT / "training"))

import packs  # noqa: E402
from plans import Planner, Planners, rows_of  # noqa: E402
from recipe_english import (  # noqa: E402
    ENGLISH,
    PAPER,
    PRESETS,
    ROW_BLOCKS,
    Mix,
    Optimisation,
    row_samples,
)

CONFIG = ENGLISH.model
RATE = packs.RATE


def spoken(rng, seconds, source, text):
    """A burst of noise within silence, and its line."""
    samples = rng.integers(-5, 5, int(seconds * RATE)).astype(np.int16)
    third = len(samples) // 3
    samples[third:2 * third] = rng.integers(-9000, 9000, third)
    return samples, {"text": text, "speaker": "s", "source": source}


def recordings(rng):
    words = [("speech-commands", "STOP"), ("speech-commands", "TWO"), ("speech-commands", "BED"),
             ("wake-words", "ALEXA"), ("speech-commands", "")]
    return [*(spoken(rng, 1.0, source, text) for source, text in words for _ in range(2)),
            *(spoken(rng, seconds, source, f"SENTENCE {source}".upper())
              for seconds in (2.0, 5.0) for source in ("librispeech", "synthetic"))]


@pytest.fixture(scope="module")
def pack(tmp_path_factory):
    path = tmp_path_factory.mktemp("packs") / "a"
    made = recordings(np.random.default_rng(0))
    hours = packs.write(path, made)
    assert hours == pytest.approx(sum(len(samples) for samples, _ in made) / RATE / 3600)
    return path.with_suffix(".json"), made


def encode(text):
    return [1 + ord(letter) % 50 for letter in text]


def test_a_pack_is_read_as_written(pack):
    index, made = pack
    samples, clips = packs.read(index)
    assert [path.name for path in sorted(index.parent.iterdir())] == ["a.json", "a.npy"]
    assert len(clips) == len(made)
    for clip, (own, line) in zip(clips, made):
        np.testing.assert_array_equal(samples[clip["start"]:clip["start"] + clip["samples"]], own)
        assert (clip["text"], clip["source"]) == (line["text"], line["source"])
    assert [clip["kind"] for clip in clips].count("word") == 10
    assert [clip["kind"] for clip in clips[-4:]] == ["sentence", "synthetic"] * 2


def test_the_speech_of_a_word_is_found(pack):
    index, _ = pack
    for clip in packs.read(index)[1]:
        first, last = clip["active"]
        if clip["kind"] == "word":
            third = clip["samples"] / 3
            assert third - 0.15 * RATE <= first <= third
            assert 2 * third <= last <= 2 * third + 0.15 * RATE
        else:
            assert (first, last) == (0, clip["samples"])


@pytest.mark.parametrize("samples", [0, 1, 159, 160, 5000])
def test_silence_and_short_clips_have_an_active_region(samples):
    first, last = packs.active_region(np.zeros(samples, np.int16))
    assert 0 <= first <= last <= samples


def test_a_pack_with_too_few_samples_is_refused(pack, tmp_path):
    index, _ = pack
    (tmp_path / "b.json").write_text(index.read_text())
    np.save(tmp_path / "b.npy", np.zeros(100, np.int16))
    with pytest.raises(FileError, match="within the 100 samples .* found one that ends at"):
        packs.read(tmp_path / "b.json")


@pytest.mark.parametrize("recipe", PRESETS.values(), ids=PRESETS)
def test_rows_have_eight_encoder_frames_a_block(recipe):
    config = recipe.model
    for blocks in ROW_BLOCKS:
        samples = row_samples(blocks, config)
        inputs = 1 + (samples + 2 * config.pad) // config.hop_length
        assert config.encoder_frames(inputs) == 8 * blocks
        assert rows_of(blocks, config, recipe.opt) * samples <= (
            recipe.opt.batch_seconds * config.sample_rate)


def test_the_paper_s_shape():
    """31,536,128 parameters, of which the position table is none."""
    from ee_ref import families

    positions = PAPER.model.max_frames * PAPER.model.dim
    # Batch norm is folded into the convolution before it: 2 * dim parameters a layer less.
    total = sum(int(np.prod(spec.shape)) for spec in families.tensors(PAPER.model))
    assert total - positions + 12 * 2 * PAPER.model.dim == 31_536_128


@pytest.mark.parametrize("mix", [Mix(), Mix(strings=1.0), Mix(strings=0.0, several=1.0),
                                 Mix(strings=0.0, silence=0.0, real=0.0)],
                         ids=["all", "strings", "several", "synthetic"])
def test_pieces_lie_in_their_row_and_in_their_clips(pack, mix):
    index, _ = pack
    samples, clips = packs.read(index)
    opt = replace(Optimisation(), batch_seconds=40.0)
    planner = Planner(CONFIG, mix, opt, encode, [0])
    planner.add(1000, clips)
    bounds = [(1000 + clip["start"], 1000 + clip["start"] + clip["samples"]) for clip in clips]
    for plan in itertools.islice(planner.stream(lambda: max(ROW_BLOCKS)), 12):
        length = row_samples(plan.blocks, CONFIG)
        assert len(plan.table) == len(plan.counts) == rows_of(plan.blocks, CONFIG, opt)
        assert len(plan.labels) == sum(plan.counts)
        for pieces, count in zip(plan.table, plan.counts):
            used = pieces[pieces[:, 1] > 0]
            assert len(used) and (pieces[len(used):, 2] >= length).all()
            end = 0.0
            for start, own, at, rate, gain in used:
                assert at >= end and gain > 0
                end = at + int(own / rate)
                assert any(low <= start and start + own <= high for low, high in bounds)
            assert end <= length
            assert count < 8 * plan.blocks


def test_rows_beyond_the_limit_are_left_out(pack):
    planner = Planner(CONFIG, Mix(), replace(Optimisation(), batch_seconds=10.0), encode, [0])
    planner.add(0, packs.read(pack[0])[1])
    plans = itertools.islice(planner.stream(lambda: 7), 8)
    assert {plan.blocks for plan in plans} <= {5, 7}


def test_planners_draw_from_what_they_are_told(pack):
    opt = replace(Optimisation(), batch_seconds=10.0)
    planners = Planners(lambda rank: Planner(CONFIG, Mix(), opt, encode, [rank]), 2)
    try:
        planners.add(0, packs.read(pack[0])[1])
        assert all(planners.take().counts for _ in range(4))
    finally:
        planners.stop()


def test_a_planner_that_fails_says_why():
    def make(rank):
        raise ValueError("no such thing")

    planners = Planners(make, 1)
    try:
        with pytest.raises(RuntimeError, match="no such thing"):
            planners.take()
    finally:
        planners.stop()
