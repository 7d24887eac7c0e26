"""Conformers with attention decoders: against PyTorch, the searches, and checkpoints."""

from __future__ import annotations

import itertools
import json
import math
import pickle
import re
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import soundfile

import ee_ref
from ee_ref import decode, exits, families, flash_image, model_file, wyoming_server
from ee_ref.attention_decoder import AttentionDecoder
from ee_ref.cli import main
from ee_ref.conformance.draw import (
    SMALL,
    SMALL_AED,
    random_features,
    random_int8_model,
    random_model,
    random_state_dict,
)
from ee_ref.convert import convert, convert_state_dict
from ee_ref.decode.attention import (
    AttentionSearch,
    CtcPrefixes,
    Greedy,
    SpecialLabels,
    placed,
    search,
)
from ee_ref.decode.hypothesis import AttentionHypothesis
from ee_ref.encoder import ReferenceEncoder
from ee_ref.errors import ArgumentError, CheckpointError, EeError, ShapeError, TooLongError
from ee_ref.evaluation import journal, manifest, run
from ee_ref.info import describe
from tests.aed_layouts import AED_CLIPS, FULL_AED, LABELS, authors, small_state
from tests.conftest import ISAS
from tests.hostile.checkpoints import torch_file
from tests.support import FULL_SEED, GOLDEN, SMALL_CLIPS, SMALL_SEED, assert_close
from tests.test_families import listed, rows_of

SPECIAL = SpecialLabels(start=1, end=2, pad=7, blank=0)
TOLERANCE = 1e-4
"""What a log-probability may be away from PyTorch's in the authors' shape."""


@pytest.fixture(scope="module")
def golden():
    """See tests/golden/gen_aed.py."""
    with np.load(GOLDEN / "aed.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def tensors():
    config, tensors = convert_state_dict(small_state(), heads=SMALL.heads, special=(1, 2, 7))
    assert config == SMALL_AED
    return tensors


@pytest.fixture(scope="module")
def full():
    state = authors(random_state_dict(FULL_AED, FULL_SEED), FULL_AED)
    config, tensors = convert_state_dict(state, heads=FULL_AED.heads)
    assert config == FULL_AED
    return tensors


def steps_of(encoder, out, labels):
    """(labels, vocab) log-probabilities of what follows each label."""
    decoder = encoder.decoder(out.exit, out.hidden, 1, len(labels))
    return np.concatenate([decoder.step([int(label)]) for label in labels])


def emitted(encoder, out, inputs, how):
    (best, *_) = AttentionDecoder(encoder, frozenset({1, 2, SMALL_AED.pad_token}), how)(out, inputs)
    return best.emitted


def without_filler(row):
    return tuple(row[row >= 0].tolist())


# ---- Against PyTorch ----


@pytest.mark.parametrize("frames", SMALL_CLIPS)
def test_every_exit_of_a_small_model(frames, tensors, golden, make_encoder):
    encoder = make_encoder(SMALL_AED, tensors)
    for out in encoder.exits(random_features(frames, SMALL_SEED, SMALL.mels)):
        assert_close(out.log_probs, golden[f"small/{frames}/ctc"][out.exit - 1], 5e-6, "ctc")
        found = steps_of(encoder, out, LABELS)
        assert_close(found, golden[f"small/{frames}/steps"][out.exit - 1], 5e-6, "steps")
        for name, how in (("greedy", AttentionSearch()),
                          ("beam", AttentionSearch(10, rule="authors"))):
            expected = without_filler(golden[f"small/{frames}/{name}"][out.exit - 1])
            assert emitted(encoder, out, frames, how) == expected, name


@pytest.mark.parametrize("backend, clip", [
    pytest.param(backend, clip, id=f"{backend}-{clip.frames}_frames",
                 marks=pytest.mark.slow if backend == "c" or clip.frames > 400 and
                 backend != ISAS[-1] else ())
    for backend in ("numpy", *ISAS) for clip in AED_CLIPS
], indirect=["backend"])
def test_every_exit_of_the_authors_shape(clip, full, golden, make_encoder):
    encoder, key = make_encoder(FULL_AED, full), f"full/{clip.frames}"
    allowed = TOLERANCE - golden[f"{key}/pytorch_float32_distance"][0]
    searched = iter(golden[f"{key}/beam"])
    for out in encoder.exits(random_features(clip.frames, clip.seed)):
        greedy = without_filler(golden[f"{key}/greedy"][out.exit - 1])
        assert emitted(encoder, out, clip.frames, AttentionSearch()) == greedy
        said = np.array([FULL_AED.start_token, *greedy[:-1]])
        found = steps_of(encoder, out, said)[:: clip.stride]
        expected = golden[f"{key}/steps"][out.exit - 1][: len(found)]
        assert np.abs(found - expected).max() <= allowed
        if out.exit in (1, FULL_AED.exits) and clip.frames < 1000:
            how = AttentionSearch(10, rule="authors")
            assert emitted(encoder, out, clip.frames, how) == without_filler(next(searched))


@pytest.mark.parametrize("packed", [False, True], ids=["as_they_lie", "packed"])
@pytest.mark.parametrize("config", [
    SMALL_AED, replace(SMALL_AED, dim=32, heads=2, ff=48, max_tokens=9),
    replace(SMALL_AED, dim=16, heads=1, ff=33, vocab=33, decoder_layers=1)], ids=str)
def test_int8_gives_the_same_bytes_everywhere(config, packed, isa):
    """Hypotheses that branch, end, pad, and change places."""
    from ee_ref.native._session import NativeModel

    config, tensors = random_int8_model(config, 3)
    native, reference = NativeModel(config, tensors, packed=packed), ReferenceEncoder(config,
                                                                                      tensors)
    draw = np.random.default_rng(5)
    for out in native.exits(random_features(70, 2, config.mels)):
        both = [encoder.decoder(out.exit, out.hidden, 5, 9) for encoder in (native, reference)]
        labels, parents = [1], [0]
        for _ in range(9):
            found, expected = (decoder.step(labels, parents) for decoder in both)
            assert found.tobytes() == expected.tobytes()
            count = int(draw.integers(1, 6))
            parents = draw.integers(0, len(labels), count).tolist()
            labels = draw.integers(0, config.vocab, count).tolist()
            labels[0] = config.pad_token if draw.integers(2) else labels[0]


def test_hypotheses_do_not_see_each_other(tensors, make_encoder):
    """Side by side, or alone: the same, whatever place they have."""
    encoder = make_encoder(SMALL_AED, tensors)
    (out, *_) = encoder.exits(random_features(70, 1, SMALL.mels))
    sentences = [(1, 3, 4, 5), (1, 3, 6, 6), (1, 8, 9, 10)]
    decoder = encoder.decoder(1, out.hidden, 3, 4)
    decoder.step([1])
    decoder.step([3, 8], [0, 0])
    decoder.step([9, 4, 6], [1, 0, 0])
    found = decoder.step([10, 5, 6], [0, 1, 2])
    expected = [steps_of(encoder, out, sentence)[-1] for sentence in (*sentences[2:], *sentences)]
    np.testing.assert_allclose(found, expected[:3], rtol=0, atol=2e-6)


def test_what_pads_is_not_seen(tensors, make_encoder):
    """It moves the positions of what follows, and nothing else."""
    encoder = make_encoder(SMALL_AED, tensors)
    (out, *_) = encoder.exits(random_features(70, 1, SMALL.mels))
    first, second = steps_of(encoder, out, (1, 7, 7, 4)), steps_of(encoder, out, (1, 7, 3, 4))
    np.testing.assert_array_equal(first[:2], second[:2])
    assert np.abs(first[3] - second[3]).max() > 1e-3  # of which the second sees 3


@pytest.mark.parametrize("call, error, message", [
    (lambda e, h: e.decoder(0, h, 1, 5), ArgumentError, "exit: expected 1..3, found 0"),
    (lambda e, h: e.decoder(1, h[:0], 1, 5), ShapeError, "hidden: expected float32 (rows, 20)"),
    (lambda e, h: e.decoder(1, h * np.nan, 1, 5), ArgumentError, "hidden: expected finite"),
    (lambda e, h: e.decoder(1, h.astype(float), 1, 5), ShapeError, "found float64"),
    (lambda e, h: e.decoder(1, h, 1, 5).step([11]), ArgumentError, "label: expected 0..10"),
    (lambda e, h: e.decoder(1, h, 1, 5).step([7]), ArgumentError,
     "label: expected one that begins a sentence, found pad_token 7"),
    (lambda e, h: e.decoder(1, h, 1, 5).step([1], [1]), ArgumentError, "parent: expected 0..0"),
    (lambda e, h: e.decoder(1, h, 1, 5).step([]), ArgumentError, "one or more labels, found 0"),
    (lambda e, h: e.decoder(1, h, 2, 5).step([1, 1], [0]), ArgumentError, "1 parents"),
])
def test_steps_that_cannot_be(call, error, message, tensors, make_encoder):
    encoder = make_encoder(SMALL_AED, tensors)
    (out, *_) = encoder.exits(random_features(30, 1, SMALL.mels))
    with pytest.raises(error, match=re.escape(message)):
        call(encoder, out.hidden)


def test_no_more_steps_than_positions(tensors, make_encoder):
    encoder = make_encoder(SMALL_AED, tensors)
    (out, *_) = encoder.exits(random_features(30, 1, SMALL.mels))
    decoder = encoder.decoder(1, out.hidden, 1, 100)
    for _ in range(SMALL_AED.max_tokens):
        decoder.step([1])
    with pytest.raises(ArgumentError, match="at most 30 steps"):
        decoder.step([1])


def test_c_takes_no_more_than_it_was_made_for(tensors, native_library):
    from ee_ref.native._session import NativeModel

    encoder = NativeModel(SMALL_AED, tensors)
    (out, *_) = encoder.exits(random_features(30, 1, SMALL.mels))
    decoder = encoder.decoder(1, out.hidden, 2, 2)
    with pytest.raises(ArgumentError, match="at most 2 hypotheses, found 3"):
        decoder.step([1, 1, 1], [0, 0, 0])
    first, again = decoder.step([1]), encoder.decoder(1, out.hidden, 2, 2).step([1])
    np.testing.assert_array_equal(first, again)  # the refusal left it as it was
    decoder.step([3])
    with pytest.raises(ArgumentError, match="at most 2 steps"):
        decoder.step([4])


def test_a_plain_model_has_no_decoder(make_encoder):
    encoder = make_encoder(*random_model(SMALL, 1))
    with pytest.raises(ArgumentError, match="expected a model that has some, found ee-conformer"):
        encoder.decoder(1, np.zeros((3, SMALL.dim), np.float32), 1, 5)


# ---- Searches, by decoders that are tables ----


class Table:
    """A decoder whose next label depends on the last one: (V, V) log-probabilities."""

    def __init__(self, table: np.ndarray) -> None:
        self.table, self.asked = table, 0

    def step(self, labels, parents=(0,)):
        self.asked += len(labels)
        return self.table[list(labels)].astype(np.float32)


def table_of(seed: int, vocab: int = 8) -> np.ndarray:
    logits = np.random.default_rng(seed).normal(size=(vocab, vocab)) * 2
    return logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)


def every_sentence(table, limit, penalty):
    """(score, labels) of all sentences up to a limit."""
    for length in range(1, limit + 1):
        for labels in itertools.product(range(len(table)), repeat=length):
            over = [label in (SPECIAL.end, SPECIAL.pad) for label in labels]
            if any(over[:-1]) or not (over[-1] or length == limit):
                continue
            log_probs = table[[SPECIAL.start, *labels[:-1]], labels].astype(np.float32)
            yield log_probs.sum() / ((5 + length) / 6) ** penalty, labels


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("penalty", [0.0, 0.6, 2.0])
def test_a_wide_beam_finds_the_best_sentences(seed, penalty):
    table = table_of(seed)
    expected = sorted(every_sentence(table, 4, penalty), key=lambda found: -found[0])[:3]
    found = search(Table(table), SPECIAL, 4, AttentionSearch(100, 3, length_penalty=penalty))
    # A hypothesis that is over leaves the beam, which holds 100 of 6 * 6 * 6 that go on.
    np.testing.assert_allclose(found[0].score, expected[0][0], rtol=1e-5)
    assert found[0].emitted == expected[0][1]
    assert [h.score for h in found] == sorted((h.score for h in found), reverse=True)


@pytest.mark.parametrize("seed", range(6))
def test_a_beam_of_one_is_greedy(seed):
    how = AttentionSearch()
    table = table_of(seed)
    (expected,) = search(Table(table), SPECIAL, 9, how)
    walk = Greedy(Table(table), SPECIAL, 9)
    found = walk.best(how)
    assert found == expected and found.emitted == expected.emitted
    assert found.log_probs == expected.log_probs and len(found.tokens) == len(found.log_probs)
    assert not {*SPECIAL} & {*found.tokens}
    assert walk.path() == pytest.approx(math.exp(np.mean(
        [table[a, b] for a, b in itertools.pairwise((1, *found.emitted))])), rel=1e-5)


def test_greedy_goes_no_further_than_it_is_asked():
    table = np.full((8, 8), -5.0)
    table[:, 5] = np.log1p(-7 * np.exp(-5))
    steps = Table(table)
    walk = Greedy(steps, SPECIAL, 40)
    entropy = walk.entropy(4)
    assert steps.asked == 4
    p = np.exp(table[0])
    assert entropy == pytest.approx(-(p * table[0]).sum() / np.log(8), rel=1e-5)
    walk.path()
    assert steps.asked == 40 and walk.entropy(4) == entropy


def test_padding_ends_a_sentence_and_the_authors_go_on():
    table = np.full((8, 8), -9.0)
    table[1, 3], table[3, 7], table[7, 4], table[4, 2] = [-0.1] * 4
    (found,) = search(Table(table), SPECIAL, 9, AttentionSearch())
    assert found.emitted == (3, 7) and found.tokens == (3,)
    (found,) = search(Table(table), SPECIAL, 4, AttentionSearch(rule="authors"))
    assert found.emitted == (3, 7, 4, 2) and found.tokens == (3, 4)
    assert found.score == pytest.approx(-0.1 * sum(6 / (6 + n) for n in range(4)), rel=1e-5)


def test_the_authors_let_sentences_end_after_300_steps():
    table = np.full((8, 8), -9.0)
    table[:, 5], table[:, 2] = -1.0, -0.5
    found = search(Table(table), SPECIAL, 400, AttentionSearch(3, 3, rule="authors"))
    assert {len(hypothesis.emitted) for hypothesis in found} <= {*range(302, 305)}
    assert all(hypothesis.emitted[-1] == 2 for hypothesis in found)


@pytest.mark.parametrize("inputs, steps", [(100, 27), (199, 25), (200, 16), (333, 27), (1001, 83)])
def test_limits(inputs, steps):
    assert AttentionSearch(rule="authors").limit(0, inputs) == steps
    assert AttentionSearch().limit(249, inputs) == 132


@pytest.mark.parametrize("fields, message", [
    ({"beam_width": 0}, "beam_width"), ({"n_best": 2}, "n_best"), ({"rule": "theirs"}, "rule"),
    ({"length_penalty": -1.0}, "length_penalty"), ({"ctc_weight": 1.5}, "ctc_weight"),
    ({"ctc_weight": 0.3, "rule": "authors"}, "ctc_weight: expected 0 with the rule"),
    ({"beam_width": 101}, "beam_width"),
])
def test_searches_that_make_no_sense(fields, message):
    with pytest.raises(ArgumentError, match=message):
        AttentionSearch(**fields)


# ---- The CTC head's opinion ----


def collapsed(alignment, silent):
    return tuple(label for label, _ in itertools.groupby(
        None if label in silent else label for label in alignment) if label is not None)


def sums_of_alignments(log_probs, silent):
    """Sentence -> log of the sum over its alignments, by trying all."""
    found: dict[tuple, float] = {}
    for alignment in itertools.product(range(log_probs.shape[1]), repeat=len(log_probs)):
        score = sum(row[label] for row, label in zip(log_probs, alignment))
        sentence = collapsed(alignment, silent)
        found[sentence] = np.logaddexp(found.get(sentence, -np.inf), score)
    return found


@pytest.mark.parametrize("seed", range(3))
def test_prefixes_are_sums_over_alignments(seed):
    """Blank 0 and two silent labels, which count as blanks: the others are 3 and 4."""
    log_probs, silent = table_of(seed, 5), (0, 1, 2)
    by_sentence = sums_of_alignments(log_probs, silent)
    how = AttentionSearch(5, ctc_weight=1.0)
    for sentence in [(3,), (4, 4), (3, 4, 3), (3, 3, 3)]:
        ctc = CtcPrefixes(log_probs, 0, silent)
        for number, label in enumerate(sentence):
            scores = ctc.joined(np.zeros((1, 5)), how, (2,))[0]
            prefix = sentence[: number + 1]
            begun = [score for other, score in by_sentence.items()
                     if other[: len(prefix)] == prefix]
            expected = np.logaddexp.reduce(begun) if begun else -np.inf
            assert scores[label] == pytest.approx(expected, rel=1e-9)
            assert scores[2] == pytest.approx(by_sentence.get(sentence[:number], -np.inf),
                                              rel=1e-9)
            assert scores[0] == scores[1] == -np.inf  # no text: not what a sentence is made of
            ctc.go_on([0], [label])


def test_ctc_overrules_a_decoder_that_repeats_itself():
    loop = np.full((8, 8), -3.0)
    loop[:, 5] = -0.2
    heard = np.full((6, 8), -8.0)
    heard[[0, 2, 4], [5, 4, 3]] = heard[[1, 3, 5], 0] = -0.01
    (alone,) = search(Table(loop), SPECIAL, 12, AttentionSearch(6))
    assert alone.emitted == (5,) * 12
    (joint,) = search(Table(loop), SPECIAL, 12, AttentionSearch(6, ctc_weight=0.7),
                      CtcPrefixes(heard, 0, SPECIAL))
    assert joint.tokens == (5, 4, 3)


@pytest.mark.parametrize("heard, text", [
    (np.full((2, 8), -math.log(8)), 2),  # no more labels than frames
    (np.log(np.eye(8)[[0, 0]] + 1e-300), 0),  # blanks alone
])
def test_ctc_may_leave_no_label_to_go_on_with(heard, text):
    loop = np.full((8, 8), -60.0)
    loop[:, [3, 4, 5]] = math.log(1 / 3)
    for width in (1, 4):
        found = search(Table(loop), SPECIAL, 12, AttentionSearch(width, ctc_weight=1.0),
                       CtcPrefixes(heard, 0, SPECIAL))
        assert len(found[0].tokens) <= text and found[0].score > -math.inf


def test_a_ctc_head_that_allows_nothing_gives_the_empty_sentence():
    heard = np.full((2, 24), -np.inf)
    heard[:, 6] = 0.0  # which the decoder does not try
    loop = np.full((24, 24), -60.0)
    loop[:, 10:20] = math.log(1 / 10)
    (found,) = search(Table(loop), SPECIAL, 12, AttentionSearch(1, ctc_weight=0.5),
                      CtcPrefixes(heard, 0, SPECIAL))
    assert found.tokens == () and found.emitted == ()


def test_labels_are_placed_where_ctc_hears_them():
    heard = np.full((7, 8), -8.0)
    heard[:, 0] = -0.5
    heard[[1, 3, 4, 6], [5, 5, 4, 3]] = [-0.1, -0.1, -0.2, -0.1]
    heard[2, 0] = -0.01
    said = AttentionHypothesis((5, 5, 4, 3), -1.0, (), (5, 5, 4, 3, 2), (-1.0,) * 4)
    assert placed(said, heard, 0, SPECIAL).frames == (1, 3, 4, 6)
    assert placed(said, heard[:2], 0, SPECIAL).frames == (0, 0, 0, 1)  # too few: spread
    nothing = AttentionHypothesis((), 0.0, (), (2,), ())
    assert placed(nothing, heard, 0, SPECIAL).frames == ()


# ---- Files ----


def test_format_md_lists_the_tensors():
    config = replace(SMALL_AED, exits=1, layers_per_exit=(1,), decoder_layers=1)
    plain = listed("`ee-conformer`")
    shared = [row for row in listed("`ee-aed`") if row[0].startswith("decoder.") and
              not row[0].startswith("decoder.1.")]
    own = [row for row in listed("`ee-aed`") if row[0].startswith("decoder.1.")]
    stem = [row for row in plain if row[0].startswith(("stem.", "frontend."))]
    assert rows_of(config) == [*stem, *shared, *plain[len(stem):], *own]


@pytest.fixture
def path(tmp_path, tensors):
    path = tmp_path / "model.gguf"
    tokens = ["@", "<s>", "</s>", *(f"\u2581{c}" for c in "abcd"), "<pad>", *"xyz"]
    model_file.write(path, SMALL_AED, tokens, {1, 2, 7}, tensors)
    return path


def test_a_file_and_its_prefixes_are_models(path, tensors):
    whole, data = model_file.read(path), path.read_bytes()
    assert whole.config == SMALL_AED and whole.metadata["ee.pad_token"] == 7
    for exits_, size in enumerate(whole.exit_sizes[:-1], start=1):
        path.write_bytes(data[:size])
        with pytest.warns(match=f"used as a model of {exits_} exit"):
            cut = ee_ref.load(path, backend="numpy")
        *_, out = cut.exits(random_features(50, 1, SMALL.mels))
        reference = ReferenceEncoder(SMALL_AED, tensors)
        np.testing.assert_array_equal(steps_of(cut._encoder, out, LABELS),
                                      steps_of(reference, out, LABELS))


@pytest.mark.parametrize("field, value, message", [
    ("decoder_layers", 0, "decoder_layers: expected in 1..64"),
    ("max_tokens", 0, "max_tokens: expected an integer in 1..65536"),
    ("start_token", 11, "start_token: expected in 0..10"),
    ("end_token", 1, "a label of its own"),
])
def test_configurations_that_cannot_be(field, value, message, native_library):
    config = replace(SMALL_AED, **{field: value})
    with pytest.raises(ArgumentError, match=re.escape(message)):
        config.validate()
    from ee_ref.native._lib import lib
    from ee_ref.native._session import _c_config, _size

    with pytest.raises(EeError):
        _size(lib.ee_model_size, _c_config(config))


def test_info_tells_what_the_decoder_costs(path, capsys):
    found = describe(model_file.read(path))
    dim, ff, vocab = SMALL.dim, SMALL.ff, SMALL.vocab
    assert found["decoder"] == {
        "layers": 2, "max_tokens": 30, "start_token": 1, "end_token": 2, "pad_token": 7,
        "multiply_accumulates": {
            "an encoder frame": 2 * 2 * dim * dim,
            "a token": 2 * (6 * dim * dim + 2 * dim * ff) + dim * vocab}}
    assert main(["info", str(path)]) == 0
    assert "attention decoder: 2 layers" in capsys.readouterr().out


def test_the_plan_of_a_device_has_the_decoder(path, native_library, capsys):
    assert main(["info", str(path), "--seconds", "1", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)["device"]
    model = ee_ref.load(path)
    decoder = model._encoder.decoder(
        1, np.zeros((plan["rows"], SMALL.dim), np.float32), 1, AttentionSearch().limit(
            plan["rows"], plan["frames"]))
    assert plan["decoder"] == len(decoder._arena)
    assert plan["peak"][0] > plan["model"][0] + plan["arena"] + plan["decoder"]


def test_the_published_sizes():
    """Parameters as PyTorch counts them, each once."""
    def parameters(config):
        return sum(math.prod(spec.shape) for spec in families.tensors(config) if spec.is_parameter)

    folded = 2 * 12 * FULL_AED.dim  # batch norm, in the depthwise convolution
    assert parameters(FULL_AED) + folded == 20_651_136
    other = replace(FULL_AED, dim=256, heads=8, ff=2048, decoder_layers=6)
    assert parameters(other) + 2 * 12 * 256 == 88_832_000
    assert other.token_cost(0, 0) == pytest.approx(8.7e6, rel=0.01)
    assert other.memory_cost(1) == pytest.approx(0.79e6, rel=0.01)


def test_flash_images_hold_decoders(path, native_library):
    from tests.firmware.image import NativeImage

    file = model_file.read(path)
    image = flash_image.build(file)
    assert flash_image.parse(image).config == SMALL_AED == NativeImage(image).config
    for name, tensor in flash_image.parse(image).tensors.items():
        np.testing.assert_array_equal(tensor, file.tensors[name])


# ---- Audio to text ----


@pytest.fixture(params=["numpy", "native"])
def model(request, path, native_library):
    return ee_ref.load(path, backend=request.param)


SAMPLES = np.sin(np.arange(12_000, dtype=np.float32) ** 1.3) * np.float32(0.1)


@pytest.fixture
def audio_model(tmp_path, native_library):
    """With the mels that a front end gives."""
    config = replace(SMALL_AED, mels=20, max_frames=60)
    config, tensors = random_model(config, 4)
    path = tmp_path / "audio.gguf"
    tokens = ["@", "<s>", "</s>", *(f"\u2581{c}" for c in "abcd"), "<pad>", *"xyz"]
    model_file.write(path, config, tokens, {1, 2, 7}, tensors)
    return path


def test_what_was_measured_is_read_back_and_decoders_can_be_sent(audio_model, tmp_path):
    """A journal has the scores of attention decoders; a copy of one is that of its model again."""
    model = ee_ref.load(audio_model)
    soundfile.write(tmp_path / "a.wav", SAMPLES, 16000)
    recordings = [manifest.Recording("a", tmp_path / "a.wav", "a b")]
    decoder = pickle.loads(pickle.dumps(model.attention_decoder(2, ctc_weight=0.3)))
    assert decoder.how == model.attention_decoder(2, ctc_weight=0.3).how
    asked = journal.question(model)
    first, again = (run.run(model, recordings, decoder=decoder, spread=journal.resumed(
        tmp_path / "j", asked, run.here(1))) for _ in range(2))
    assert first == again and len(first[0].attention) == model.config.exits
    assert first[0].texts == run.run(
        model, recordings, decoder=model.attention_decoder(2, ctc_weight=0.3))[0].texts
    with pytest.raises(TypeError, match="expected the decoder of a model"):
        pickle.dumps(AttentionDecoder(model._encoder, model.tokens.special))


def test_transcribe_decodes_by_attention(audio_model):
    model = ee_ref.load(audio_model)
    features = model.features(SAMPLES)
    for out in model.exits(features):
        result = model.transcribe(SAMPLES, exit=out.exit)
        (expected,) = AttentionDecoder(model._encoder, model.tokens.special)(out, len(features))
        assert result.text == model.tokens.text(expected.tokens)
        assert result.n_best[0].tokens == expected.tokens
        assert [word.word for word in result.words] == result.text.split()
        assert result.confidence == min((word.confidence for word in result.words), default=1.0)
        ctc = model.transcribe(SAMPLES, exit=out.exit, decoder=partial(decode.greedy, blank=0))
        assert ctc.n_best[0].tokens == model.decode(out.log_probs).tokens
    wide = model.transcribe(SAMPLES, decoder=model.attention_decoder(4, 3, ctc_weight=0.3))
    assert len(wide.n_best) == 3
    assert model.transcribe(np.zeros(0, np.float32)).text == ""


def test_what_streams_do_not_have(audio_model):
    model = ee_ref.load(audio_model)
    decoder = model.attention_decoder(4)
    with pytest.raises(ArgumentError, match="found an attention decoder"):
        model.stream(decoder=decoder)
    with pytest.raises(ArgumentError, match="live: expected a decoder of log-probabilities"):
        wyoming_server.Service(model, model.policy(), decoder, live=True)
    with pytest.raises(TooLongError, match="for an attention decoder, which streams do not have"):
        model.transcribe(np.zeros(16_000 * 6, np.float32), decoder=decoder)
    assert model.transcribe(np.zeros(16_000 * 6, np.float32)).duration == 6.0  # CTC, in windows


def test_long_recordings_are_heard_by_ctc_unless_attention_is_asked_for(
        audio_model, tmp_path, capsys):
    from scipy.io import wavfile

    path = tmp_path / "long.wav"
    wavfile.write(path, 16_000, np.zeros(16_000 * 6, np.int16))
    assert main(["transcribe", str(path), "--model", str(audio_model)]) == 0
    assert main(["transcribe", str(path), "--model", str(audio_model), "--beam", "2"]) == 1
    assert "for an attention decoder, which streams do not have" in capsys.readouterr().err


def test_rules_go_by_the_decoder(audio_model):
    model = ee_ref.load(audio_model)
    features = model.features(SAMPLES)
    decoder = model.attention_decoder()
    for name, is_larger in exits.ATTENTION_SCORES.items():
        scores = [decoder.attend(out, len(features)).score(name) for out in model.exits(features)]
        assert all(0 <= score <= 1 for score in scores)
        easy, hard = (1.0, 0.0) if not is_larger else (0.0, 1.0)
        assert model.transcribe(SAMPLES, policy=exits.Threshold(name, easy)).exit == 1
        found = model.transcribe(SAMPLES, policy=exits.Threshold(name, hard))
        assert found.exit == 3 and found.score == scores[2]
        least = sorted(scores, reverse=is_larger)[0]
        found = model.transcribe(SAMPLES, policy=exits.Threshold(name, least))
        assert found.exit == 1 + scores.index(least) and found.margin == 0
        assert exits.from_plain(exits.to_plain(exits.Threshold(name, least))) \
            == exits.Threshold(name, least)


def test_rules_say_what_is_missing(tmp_path):
    config, tensors = random_model(SMALL, 1)
    path = tmp_path / "plain.gguf"
    model_file.write(path, config, [f"t{i}" for i in range(11)], {1}, tensors)
    model = ee_ref.load(path)
    with pytest.raises(ArgumentError, match="attention_path: expected a model with attention"):
        model.run(random_features(50, 1, SMALL.mels), exits.Threshold("attention_path", 0.5))
    with pytest.raises(ArgumentError, match="expected a model that has some"):
        model.attention_decoder()


# ---- Checkpoints ----


@pytest.mark.parametrize("groups, layout", [
    ("conformer.", "full_conformer"), ("conformers.", "Early_Sequence_Conformer")])
def test_the_authors_layouts_are_recognised(groups, layout, tensors):
    state = authors(random_state_dict(SMALL_AED, SMALL_SEED), groups=groups)
    found = convert(state, heads=4, special=(1, 2, 7))
    assert found.config == SMALL_AED and layout in found.layout
    assert found.assumed == {}
    for name, tensor in found.tensors.items():
        np.testing.assert_array_equal(tensor, tensors[name])


def test_a_checkpoint_is_converted(tmp_path, capsys):
    checkpoint, path = tmp_path / "checkpoint.pt", tmp_path / "model.gguf"
    checkpoint.write_bytes(torch_file({"model": small_state(), "pad_token": 7}))
    assert main(["convert", str(checkpoint), "--heads", "4", "-o", str(path)]) == 0
    said = capsys.readouterr().err
    assert "ee-aed: 3 exits" in said and "full_conformer" in said
    assert "start_token 1 (see --special)" in said and "pad_token 7 (see" not in said
    assert model_file.read(path).config == SMALL_AED
    assert main(["convert", str(checkpoint), "--heads", "4", "--special", "3,4,5", "--force",
                 "-o", str(path)]) == 0
    assert model_file.read(path).config.end_token == 4
    with pytest.raises(SystemExit):
        main(["convert", str(checkpoint), "--special", "3,4", "-o", str(path)])
    assert "expected three labels as in 1,2,126" in capsys.readouterr().err


def test_shared_tensors_may_be_stored_once(tensors):
    state = small_state()
    for part in ("weight", "bias"):
        del state[f"layer_norm.{part}"], state[f"decoders.2.norm.{part}"]
    _, found = convert_state_dict(state, heads=4, special=(1, 2, 7))
    np.testing.assert_array_equal(found["decoder.norm.bias"], tensors["decoder.norm.bias"])


def changed(**changes):
    """A state dict with tensors replaced, or with None removed."""
    state = small_state()
    for name, value in changes.items():
        if value is None:
            del state[name]
        else:
            state[name] = value
    return state


def renamed(old, new):
    return {re.sub(old, new, name): tensor for name, tensor in small_state().items()}


@pytest.mark.parametrize("state, message", [
    (changed(**{"decoders.1.norm.weight": np.ones(20, np.float32)}),
     "tensor 'decoders.1.norm.weight': expected the numbers of 'layer_norm.weight', to which it"),
    (changed(**{"decoders.1.norm.bias": np.ones(3, np.float32)}), "'decoders.1.norm.bias': exp"),
    (changed(**{"emb.weight": None}), "1 missing: emb.weight"),
    (changed(**{"emb.weight": np.ones((12, 20), np.float32)}), "emb.weight (expected (11, 20)"),
    (changed(**{"linears_2.1.weight": None, "linears_2.1.bias": None}),
     "linears_2.N numbered 0, 1, 2"),
    (changed(**{"positional_encoder_2.pe": None}), "'decoder_positions.pe': expected 3 dim"),
    (changed(**{"positional_encoder_2.pe": np.ones((30, 20), np.float32)}), "expected 3 dim"),
    (changed(**{"decoders.0.layers.0.norm1.weight": np.full(20, np.nan, np.float32)}),
     "expected finite numbers"),
    (changed(**{"decoders.0.layers.0.linear1.bias": np.ones(37, np.int64)}), "not floating-point"),
    (changed(**{"decoders.0.layers.0.extra": np.ones(3, np.float32)}), "1 unexpected"),
    (renamed(r"^decoders\.2\..*", "gone"), "expected as many attention decoders"),
    (renamed(r"^decoders\.1\.layers\.1\..*", "gone"), "expected decoders of one number of layers"),
    (renamed(r"^decoders\..*", "gone"), "expected attention decoders decoders.N"),
    (renamed(r"^conformer\.", "encoders."), "found one of plain transformer layers, encoders.N"),
    (changed(**{"linears.0.weight": np.ones((11, 20), np.float32)}), "found two spellings of it"),
])
def test_checkpoints_that_are_refused(state, message):
    with pytest.raises(CheckpointError, match=re.escape(message)):
        convert_state_dict(state, heads=4, special=(1, 2, 7))


def test_labels_that_shapes_do_not_tell():
    with pytest.raises(CheckpointError, match="pad_token: expected in 0..10, found 126"):
        convert_state_dict(small_state(), heads=4)
    with pytest.raises(ArgumentError, match="special: expected none, as ee-conformer has no att"):
        convert_state_dict(random_state_dict(SMALL, 1), special=(1, 2, 3))
    config, _ = convert_state_dict(small_state(), heads=4, extras={
        "start_token": 8, "end_token": 9, "pad_token": 10, "decoder_layers": 5})
    assert (config.start_token, config.end_token, config.pad_token) == (8, 9, 10)


# ---- The command line ----


def wav_of(path):
    from scipy.io import wavfile

    wavfile.write(path, 16_000, (SAMPLES * 32767).astype(np.int16))
    return str(path)


@pytest.mark.parametrize("options, how", [
    ([], AttentionSearch()),
    (["--decoder", "attention", "--beam", "4", "--n-best", "2"], AttentionSearch(4, 2)),
    (["--beam", "4", "--ctc-weight", "0.3"], AttentionSearch(4, ctc_weight=0.3)),
    (["--beam", "10", "--length-rule", "authors"], AttentionSearch(10, rule="authors")),
])
def test_options_choose_the_search(options, how, audio_model, tmp_path, capsys):
    wav = wav_of(tmp_path / "a.wav")
    assert main(["transcribe", wav, "--model", str(audio_model), "--format", "json",
                 *options]) == 0
    found = json.loads(capsys.readouterr().out)
    model = ee_ref.load(audio_model)
    expected = model.transcribe(wav, decoder=AttentionDecoder(
        model._encoder, model.tokens.special, how))
    assert found["text"] == expected.text
    assert [one["text"] for one in found["n_best"]] == [one.text for one in expected.n_best]


def test_ctc_can_be_asked_for(audio_model, tmp_path, capsys):
    wav = wav_of(tmp_path / "a.wav")
    model = ee_ref.load(audio_model)
    assert main(["transcribe", wav, "--model", str(audio_model), "--decoder", "ctc"]) == 0
    expected = model.transcribe(wav, decoder=partial(decode.greedy, blank=0))
    assert capsys.readouterr().out.strip() == expected.text


@pytest.mark.parametrize("options, message", [
    (["--decoder", "ctc", "--ctc-weight", "0.3"], "--ctc-weight 0.3 needs --decoder attention"),
    (["--decoder", "attention", "--lexicon", "x"], "--decoder attention or --lexicon"),
    (["--beam", "4", "--n-best", "5"], "expected 1 <= n-best <= beam"),
    (["--beam", "0"], "--beam 0 --n-best 1: expected"),
    (["--n-best", "0"], "--beam 1 --n-best 0: expected"),
    (["--ctc-weight", "2"], "ctc_weight: expected"),
])
def test_options_that_do_not_go_together(options, message, audio_model, tmp_path, capsys):
    wav = wav_of(tmp_path / "a.wav")
    assert main(["transcribe", wav, "--model", str(audio_model), *options]) == 2
    assert message in capsys.readouterr().err


def test_a_plain_model_refuses_the_decoder(tmp_path, capsys):
    wav = wav_of(tmp_path / "a.wav")
    assert main(["transcribe", wav, "--model", "commands", "--decoder", "attention"]) == 2
    assert "expected a model that has some, found ee-conformer" in capsys.readouterr().err


def test_evaluation_and_calibration_measure_the_decoder(audio_model, tmp_path):
    from ee_ref.calibration import fit
    from ee_ref.evaluation import journal
    from ee_ref.evaluation.manifest import Recording
    from ee_ref.evaluation.run import run, table

    model = ee_ref.load(audio_model)
    recordings = [Recording(id=str(n), path=wav_of(tmp_path / f"{n}.wav"), text="A B", fields={})
                  for n in range(2)]
    policy = exits.Threshold("attention_path", 0.0)
    measured = run(model, recordings, policy)
    assert measured[0].exit == 1
    assert measured[0].texts == tuple(
        model.transcribe(recordings[0].path, exit=exit_).text for exit_ in (1, 2, 3))
    found = table(model, measured, "plain")
    assert {*exits.ATTENTION_SCORES} <= {*found.scores}
    assert {*exits.ATTENTION_SCORES} <= {*fit.families(found)}
    asked = journal.question(model, policy)
    for one in measured:
        assert journal._from_plain(one.recording, journal._plain(one), asked) == one
    assert list(fit.choices(policy, found)) == [0, 0]
