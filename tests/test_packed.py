"""Phrases in a flash image: the section, what Python and C read of it, and what they refuse."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ee_ref import flash_image
from ee_ref.conformance.draw import random_int8_model
from ee_ref.conformance.suite import INT8_CONFIG, written
from ee_ref.decode import graph as graphs
from ee_ref.errors import ArgumentError, ModelFileError, PhraseError
from ee_ref.phrases import load, packed
from ee_ref.tokens import Tokens
from tests.conftest import require_native
from tests.support import letter_pairs

LETTERS = ("<blank>", "▁", *"ABCDEFGHIJKLMNOPQRSTUVWXYZ", "'", "TH", "▁THE", "OO", "▁T")
TOKENS = Tokens(LETTERS, frozenset({0}), 0)
CONFIDENCE = (2.0, 1.0, 0.25, 0.5)
AMBIGUOUS = """\
{room} = hall | living room | living -> none
{what} = light | room light
{n} = 1..21
both: (turn | switch) [the] {room} [{what}] (on | off) [{n} times]
other: it is {room} [{room}]
say {room:place} and {room:place}
"""


@pytest.fixture(scope="module", params=["ambiguous", "rover", "house"])
def phrases(request, tmp_path_factory):
    if request.param != "ambiguous":
        return load(Path(__file__).parent / "phrases" / f"{request.param}.phrases")
    path = tmp_path_factory.mktemp("phrases") / "ambiguous.phrases"
    path.write_text(AMBIGUOUS, encoding="utf-8")
    return load(path)


@pytest.fixture(scope="module")
def section(phrases):
    return packed.pack(phrases, phrases.compile(TOKENS), CONFIDENCE)


@pytest.fixture(scope="module")
def native(section):
    require_native()
    from tests.firmware.phrases import NativePhrases

    return NativePhrases(section)


def some_numbers(phrases, count=300):
    rng = np.random.default_rng(3)
    return {0, phrases.count - 1, *rng.integers(0, phrases.count, count).tolist()}


def test_a_section_reads_back(phrases, section):
    found = packed.parse(section)
    graph = phrases.compile(TOKENS)
    assert found.confidence == CONFIDENCE and found.phrases.count == phrases.count
    for name in ("source", "target", "label", "weight", "after_blank", "final"):
        assert np.array_equal(getattr(found.graph, name), getattr(graph, name)), name
    for number in some_numbers(phrases):
        words = phrases.sentence(number)
        assert found.phrases.sentence(number) == words
        assert found.phrases.meaning(words) == phrases.meaning(words)
    assert packed.pack(found.phrases, found.graph, found.confidence) is not None


def test_c_says_the_same(phrases, native):
    for number in some_numbers(phrases):
        words = phrases.sentence(number)
        assert native.sentence(number) == words
        assert native.letters(number) == sum(map(len, words))
        intent, slots = phrases.meaning(words)
        assert native.meaning(number) == (intent, {k: str(v) for k, v in slots.items()})


def test_c_searches_the_section_as_it_lies(phrases, native):
    rng = np.random.default_rng(0)
    log_probs = np.log(rng.dirichlet(np.ones(len(LETTERS)) / 4, 30)).astype(np.float32)
    log_probs = np.maximum(log_probs, np.float32(-30))
    assert native.search(log_probs) == graphs.search(phrases.compile(TOKENS), log_probs)


def test_c_cuts_a_text_that_does_not_fit(phrases, native):
    text = " ".join(phrases.sentence(0))
    assert native.text(0) == (0, text, len(text))
    for capacity in (0, 1, 5, len(text)):
        status, cut, length = native.text(0, capacity)
        assert status < 0 and length == len(text) and cut == text[: max(capacity - 1, 0)]
    with pytest.raises(ArgumentError, match="BUFFER_TOO_SMALL"):
        native.sentence(0, len(phrases.sentence(0)) - 1)


@pytest.mark.parametrize("number", [2**63, 2**64 - 1])
def test_c_refuses_a_number_of_no_sentence(native, number):
    with pytest.raises(ArgumentError, match="EE_ERR_CONFIG"):
        native.sentence(number)


def test_eighty_templates_fit_24_kib():
    house = load(Path(__file__).parent / "phrases" / "house.phrases")
    graph = house.compile(Tokens(letter_pairs(house.words, 256), frozenset({0}), 0))
    assert house.count > 1e6 and graph.arcs > 2000
    assert len(packed.pack(house, graph, CONFIDENCE)) <= 24 << 10


def test_phrases_too_many_for_a_section(tmp_path):
    path = tmp_path / "many.phrases"
    words = ["".join(chr(65 + i // 26**place % 26) for place in range(4)) for i in range(34_000)]
    lists = {f"l{at}": words[at : at + 4_000] for at in range(0, len(words), 4_000)}
    path.write_text("\n".join(f"{{{name}}} = {' | '.join(some)}\n{{{name}}}"
                              for name, some in lists.items()), encoding="utf-8")
    rover = load(Path(__file__).parent / "phrases" / "rover.phrases")
    with pytest.raises(PhraseError, match="at most 65535 of word_arcs, found 68000"):
        packed.pack(load(path), rover.compile(TOKENS), CONFIDENCE)


def test_slots_too_many_for_c(tmp_path):
    require_native()
    from ee_ref.native._lib import lib
    from tests.firmware.phrases import NativePhrases

    assert packed.MAX_SLOTS == lib.EE_PHRASES_MAX_SLOTS
    path = tmp_path / "many.phrases"

    def section(slots):
        path.write_text("{a} = one | two\nno slots\nmany: [now] "
                        + " ".join(f"{{a:s{i}}}" for i in range(slots)))
        phrases = load(path)
        return phrases, packed.pack(phrases, phrases.compile(TOKENS), CONFIDENCE)

    phrases, most = section(packed.MAX_SLOTS)
    last = phrases.count - 1
    intent, slots = phrases.meaning(phrases.sentence(last))
    assert NativePhrases(most).meaning(last) == (intent, slots)
    assert len(slots) == packed.MAX_SLOTS
    with pytest.raises(PhraseError, match=r"many.phrases, line 3: .* at most 16 slots, found 17"):
        section(packed.MAX_SLOTS + 1)


# ---- What is refused ----


def changed(section, name, value, place=None):
    """A section with another count, or with another number at a place of a table."""
    data = bytearray(section)
    if place is None:
        struct.pack_into("<I", data, 4 * packed._COUNTS.index(name), value)
        return bytes(data)
    counts = dict(zip(packed._COUNTS, packed._HEADER.unpack_from(section)))
    at = packed._HEADER.size
    for table, dtype, size in packed._TABLES:
        numbers = packed._size(counts, *size.split())
        if table == name:
            item = packed._dtype(dtype, counts)
            start = at + place % numbers * item.itemsize
            data[start : start + item.itemsize] = np.array(value).astype(item).tobytes()
        at += packed._bytes(dtype, numbers, counts)
    return bytes(data)


@pytest.mark.parametrize("name, value, place, message", [
    ("states", 0, None, "expected"), ("states", 2**32 - 1, None, "expected"),
    ("arcs", 2**31, None, "expected"), ("word_states", 0, None, "expected"),
    ("word_states", 2**32 - 1, None, "expected"), ("nodes", 70_000, None, "expected"),
    ("strings", 3, None, "expected"), ("text", 2**32 - 1, None, "expected"),
    ("vocab", 3, None, "expected"),
    ("first", 9, 0, "first to rise from 0"), ("first", 60_000, 1, "first to rise"),
    ("target", 0, 5, "target behind the source"), ("target", 65_535, 0, "target below"),
    ("label", 250, 0, "label"), ("label", 0, 0, "not the blank"),
    ("weight", 255, 0, "weight below"), ("final", 65_535, 0, "final below"),
    ("word", 255, 0, "word below"), ("word_target", 0, 3, "word_target behind the source"),
    ("word_skip", 255, 0, "word_skip below"),
    ("list_state", 65_535, 0, "list_state below"), ("list_first", 1, 0, "list_first to rise"),
    ("value", 65_535, 0, "value below"), ("link_target", 0, 3, "link_target behind the source"),
    ("link_symbol", 0x7FFF, 0, "link_symbol to name"), ("link_symbol", 0xFFFF, 0, "link_symbol"),
    ("call_list", 999, 0, "call_list below"), ("call_slot", 0xFFFF, 0, "call_slot below"),
    ("template_node", 65_535, 0, "template_node below"),
    ("template_intent", 0xFFFE, 0, "template_intent below"),
    ("template_fixed", 1, 1, "template_fixed to rise"),
    ("text", 0, -2, "strings"), ("text", 65, -1, "strings"),
])
def test_lies(section, native, name, value, place, message):
    lie = changed(section, name, value, place)
    with pytest.raises(ModelFileError, match=message):
        packed.parse(lie)
    with pytest.raises(ArgumentError, match="EE_ERR_IMAGE_LAYOUT"):
        type(native)(lie)


@pytest.mark.parametrize("name, value, place, message", [
    ("weights", 2**60, -1, "word_skip to count|keys of"),
    ("after_blank", 255, 0, "after_blank"), ("word_final", 0, 0, "word_skip|a value|keys"),
    ("value", 0x8000, 0, "a number"),
])
def test_lies_that_only_python_looks_for(section, name, value, place, message):
    with pytest.raises(ModelFileError, match=message):
        packed.parse(changed(section, name, value, place))


@pytest.mark.parametrize("cut", [1, 40, 64, -64])
def test_a_section_cut_short(section, native, cut):
    with pytest.raises(ModelFileError, match="expected"):
        packed.parse(section[:cut])
    with pytest.raises(ArgumentError, match="EE_ERR_IMAGE_LAYOUT"):
        type(native)(section[:cut])
    for longer in (section + bytes(64), section + bytes(1)):
        with pytest.raises(ModelFileError, match="zeros from"):
            packed.parse(longer)
        with pytest.raises(ArgumentError, match="EE_ERR_IMAGE_LAYOUT"):
            type(native)(longer)


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_whatever_a_section_holds_nothing_breaks(seed, section, native, phrases):
    rng = np.random.default_rng(seed)
    data = np.frombuffer(section, np.uint8).copy()
    head = rng.random() < 0.3
    for at in rng.integers(0, 88 if head else len(data), int(rng.integers(1, 4))):
        data[at] = rng.integers(256)
    try:
        packed.parse(data.tobytes())
    except ModelFileError:
        pass
    try:
        opened = type(native)(data.tobytes())
        for number in some_numbers(phrases, 3):
            opened.meaning(number)
    except (ArgumentError, UnicodeDecodeError):
        pass


# ---- In an image ----


@pytest.fixture(scope="module")
def model():
    tokens = LETTERS[: INT8_CONFIG.vocab - 2] + ("L", "O")
    return written(*random_int8_model(INT8_CONFIG, 11), tokens)


@pytest.fixture(scope="module")
def small(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("phrases") / "small.phrases"
    path.write_text("greet: [a] face {n}\n{n} = bad | hello -> hi\n".replace("hello", "cab"),
                    encoding="utf-8")
    phrases = load(path)
    tokens = Tokens(model.tokens, model.special, model.config.blank)
    return packed.pack(phrases, phrases.compile(tokens), CONFIDENCE)


def test_an_image_holds_phrases(model, small):
    require_native()
    from tests.firmware.image import NativeImage

    image = flash_image.build(model, phrases=small)
    assert flash_image.parse(image).phrases == small
    assert flash_image.parse(flash_image.build(model)).phrases == b""
    assert packed.parse(flash_image.parse(image).phrases).phrases.count == 4
    assert NativeImage(image)._opened.phrases.words == 4
    assert NativeImage(flash_image.build(model))._opened.phrases.graph.states == 0
    one = flash_image.build(model, 1, phrases=small)
    assert image.startswith(one) and NativeImage(one)._opened.phrases.words == 4


def test_images_whose_phrases_lie(model, small):
    require_native()
    from tests.firmware.image import NativeImage

    image = flash_image.build(model, phrases=small)
    sections = flash_image.contents(image)
    place = [kind for kind, _ in sections].index(flash_image.Kind.PHRASES)
    other = changed(small, "vocab", INT8_CONFIG.vocab + 1)
    for wrong in ([changed(small, "arcs", 60_000)], [other], [small, small]):
        lie = flash_image.reassembled(image, [
            *sections[:place], *((flash_image.Kind.PHRASES, one) for one in wrong),
            *sections[place + 1 :]])
        with pytest.raises(ModelFileError, match="EE_ERR_IMAGE_LAYOUT"):
            NativeImage(lie)
