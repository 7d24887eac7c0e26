"""Home Assistant's sentence files, read with its own parser, hassil: docs/phrases.md says how much.

PyYAML, which hassil brings along, gives the tree of a file with the line of everything in it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import permutations
from typing import TYPE_CHECKING, Any, TypeVar

from weights_io.text import read_text

from ..errors import ArgumentError, PhraseError, shown
from . import template as t
from .build import build
from .grammar import Template
from .numbers import LARGEST, spoken
from .phrases import Phrases

if TYPE_CHECKING:
    import yaml
    from hassil.expression import Expression, ListReference

MAX_BYTES = 1 << 20
"""Size of a file."""
MAX_TEMPLATE = 4000
"""Characters of a sentence or rule."""
MAX_NESTING = 50
"""Brackets, rules and lists within each other."""
MAX_PERMUTED = 5
"""Parts of a permutation."""

T = TypeVar("T")


def read(path: str | os.PathLike[str]) -> Phrases:
    """The phrases of a file of `intents`, with `lists` and `expansion_rules`.

    Raises FileError when it cannot be read or is larger than `MAX_BYTES`, and PhraseError, naming
    the line, for what is not such a file. ArgumentError without hassil.
    """
    try:
        import hassil.expression  # noqa: F401
        import yaml
    except ImportError as error:
        raise ArgumentError("sentences in YAML need the library hassil: expected it from `pip "
                            f"install 'ee-ref[phrases]'`, found: {error}") from None

    class Loader(yaml.SafeLoader):
        """It takes time with the square of the brackets that are open."""

        def fetch_flow_collection_start(self, token: type[yaml.Token]) -> None:
            if self.flow_level == MAX_NESTING:
                raise yaml.MarkedYAMLError(problem=f"more than {MAX_NESTING} brackets within each "
                                           "other", problem_mark=self.get_mark())
            super().fetch_flow_collection_start(token)

    name = os.fspath(path)
    text = read_text(path, MAX_BYTES, PhraseError)
    try:
        root = yaml.compose(text, Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise PhraseError(f"{name}, line {mark.line + 1 if mark else 1}: expected YAML, found "
                          f"{shown(error.problem)}") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise PhraseError(f"{name}: expected YAML, found {shown(error)}") from None
    return build(_File(name).templates(root), name)


class _File:
    """The parts of a file, with errors that name it and the line."""

    def __init__(self, name: str):
        self.name = name
        self.spoken = 0

    def error(self, node: yaml.Node, expected: str, found: str) -> PhraseError:
        return PhraseError(f"{self.name}, line {node.start_mark.line + 1}: "
                           f"expected {expected}, found {found}")

    def mapping(self, node: yaml.Node | None, what: str) -> dict[str, yaml.Node]:
        if node is None or node.id != "mapping":
            raise self._kind(node, None, what, "names with something behind each")
        found: dict[str, yaml.Node] = {}
        for key, value in node.value:
            text = self.text(key, f"a name in {what}")
            if text in found:
                raise self.error(key, f"every name of {what} once", f"'{shown(text)}' twice")
            found[text] = value
        return found

    def sequence(self, node: yaml.Node | None, of: yaml.Node, what: str) -> list[yaml.Node]:
        if node is None or node.id != "sequence":
            raise self._kind(node, of, what, "a list")
        return node.value

    def text(self, node: yaml.Node, what: str) -> str:
        """As written: what YAML takes for a truth value, `on`, is a word here."""
        if node.id != "scalar":
            raise self._kind(node, None, what, "text")
        return node.value

    def value(self, node: yaml.Node, what: str) -> t.Value:
        """Of a slot: several are joined by commas."""
        if node.id == "sequence":
            return ", ".join(self.text(item, what) for item in node.value)
        text = self.text(node, what)
        return int(text) if node.tag.endswith(":int") and _is_integer(text) else text

    def integer(self, node: yaml.Node | None, of: yaml.Node, what: str) -> int:
        if node is None or node.id != "scalar" or not _is_integer(node.value):
            raise self._kind(node, of, what, "a whole number")
        return int(node.value)

    def templates(self, root: yaml.Node | None) -> Iterator[Template]:
        top = self.mapping(root, "the file")
        scope = _Scope(self, self._language(top), self._part(top, "expansion_rules"),
                       self._part(top, "lists"))
        if "intents" not in top:
            raise self.error(root, "'intents'", f"{shown(', '.join(top) or 'nothing')}")
        for intent, body in self.mapping(top["intents"], "'intents'").items():
            data = self.mapping(body, f"the intent {shown(intent)}").get("data")
            for block in self.sequence(data, body, f"'data' of {shown(intent)}"):
                yield from self._block(intent, block, scope)

    def _block(self, intent: str, node: yaml.Node, scope: _Scope) -> Iterator[Template]:
        block = self.mapping(node, f"a block of {shown(intent)}")
        rules, lists = self._part(block, "expansion_rules"), self._part(block, "lists")
        if rules or lists:
            scope = _Scope(self, scope.language, rules, lists, scope)
        slots = {name: self.value(value, f"the slot {shown(name)}")
                 for name, value in self._part(block, "slots").items()}
        for sentence in self.sequence(block.get("sentences"), node,
                                      f"'sentences' of {shown(intent)}"):
            yield Template(scope.parsed(sentence, "a sentence"), intent, slots,
                           sentence.start_mark.line + 1)

    def _part(self, of: Mapping[str, yaml.Node], name: str) -> dict[str, yaml.Node]:
        return self.mapping(of[name], f"'{name}'") if name in of else {}

    def _language(self, top: Mapping[str, yaml.Node]) -> str:
        return self.text(top["language"], "'language'") if "language" in top else "en"

    def _kind(self, node: yaml.Node | None, of: yaml.Node | None, what: str, expected: str
              ) -> PhraseError:
        """Of a part of `of`, None where it lacks that part."""
        if node is None:
            if of is None:
                return PhraseError(f"{self.name}: expected {expected} for {what}, found nothing")
            return self.error(of, f"{expected} for {what}", "nothing")
        found = f"'{shown(node.value)}'" if node.id == "scalar" else f"a {node.id}"
        return self.error(node, f"{expected} for {what}", found)


class _Scope:
    """Rules and lists that sentences may name, read when they are first asked for.

    outer: the scope of the file, around that of a block. What it names is read once for all blocks,
    but where it names in its turn what a block has for itself.
    """

    def __init__(self, file: _File, language: str, rules: Mapping[str, yaml.Node],
                 lists: Mapping[str, yaml.Node], outer: _Scope | None = None):
        self.file, self.language, self._outer = file, language, outer
        self._own = {f"<{name}>" for name in rules} | {f"{{{name}}}" for name in lists}
        self.rules: Mapping[str, yaml.Node] = {**(outer.rules if outer else {}), **rules}
        self.lists: Mapping[str, yaml.Node] = {**(outer.lists if outer else {}), **lists}
        # By how it is written: what it says, and all that it names; None while it is being read.
        self._found: dict[str, tuple[Any, set[str]] | None] = {}
        self._names: set[str] = set()  # by what is being read
        self._nesting = 0

    def parsed(self, node: yaml.Node, what: str) -> t.Node:
        """What a sentence, a rule or a value says."""
        from hassil.parse_expression import parse_sentence
        from hassil.parser import ParseError

        text = self.file.text(node, what)
        if len(text) > MAX_TEMPLATE:
            raise self.file.error(node, f"{what} of at most {MAX_TEMPLATE} characters",
                                  f"{len(text)}")
        try:
            expression = parse_sentence(text).expression
        except (ParseError, AssertionError, RecursionError) as error:
            raise self.file.error(node, f"{what} in the language of hassil",
                                  f"'{shown(text)}': {shown(error)}") from None
        return self._node(expression, node)

    def _node(self, expression: Expression, at: yaml.Node) -> t.Node:
        if self._nesting == MAX_NESTING:
            raise self.file.error(at, f"at most {MAX_NESTING} brackets, rules and lists within "
                                  "each other", "more")
        self._nesting += 1
        found = self._node_of(expression, at)
        self._nesting -= 1
        return found

    def _node_of(self, expression: Expression, at: yaml.Node) -> t.Node:
        from hassil import expression as h

        if isinstance(expression, h.TextChunk):
            return t.Sequence(tuple(t.text_nodes(expression.original_text)))
        if isinstance(expression, h.RuleReference):
            name = expression.rule_name
            return self._named(f"<{name}>", name, self.rules, self.parsed, at)
        if isinstance(expression, h.ListReference):
            return self._slot(expression, at)
        assert isinstance(expression, h.Group)
        if isinstance(expression, h.Permutation) and len(expression.items) > MAX_PERMUTED:
            raise self.file.error(at, f"permutations of at most {MAX_PERMUTED} parts",
                                  f"{len(expression.items)}")
        items = tuple(self._node(item, at) for item in expression.items)
        if isinstance(expression, h.Alternative):
            return t.Choice(items)
        if isinstance(expression, h.Permutation):
            return t.Choice(tuple(map(t.Sequence, permutations(items))))
        return t.Sequence(items)

    def _slot(self, found: ListReference, at: yaml.Node) -> t.Slot:
        if range_ := found.get_inline_range():
            return t.Slot(found.slot_name, self._numbers(at, *range_))
        name = found.list_name
        return t.Slot(found.slot_name,
                      self._named(f"{{{name}}}", name, self.lists, self._list, at))

    def _named(self, what: str, name: str, known: Mapping[str, yaml.Node],
               read: Callable[[yaml.Node, str], T], at: yaml.Node) -> T:
        """A rule or list that is asked for at `at`. what: how it is written."""
        if name not in known:
            raise self.file.error(at, "rules and lists that the file defines", shown(what))
        if what not in self._found:
            self._found[what] = None
            self._found[what] = self._shared(what) or self._read(what, known[name], read)
        found = self._found[what]
        if found is None:
            raise self.file.error(known[name], "rules and lists without a cycle",
                                  f"{shown(what)} within itself")
        value, names = found
        self._names |= names
        return value

    def _shared(self, what: str) -> tuple[Any, set[str]] | None:
        """What another block has read, if it means the same here."""
        found = self._outer._found.get(what) if self._outer else None
        return found if found and not found[1] & self._own else None

    def _read(self, what: str, node: yaml.Node, read: Callable[[yaml.Node, str], T]
              ) -> tuple[T, set[str]]:
        before, self._names = self._names, {what}
        found = read(node, what), self._names
        self._names = before
        if self._outer and not found[1] & self._own:
            self._outer._found[what] = found
        return found

    def _list(self, node: yaml.Node, what: str) -> t.Values:
        parts = self.file.mapping(node, what)
        if "range" in parts:
            of = parts["range"]
            range_ = self.file.mapping(of, f"the range of {what}")
            low, high = (self.file.integer(range_.get(end), of, f"'{end}' of {what}")
                         for end in ("from", "to"))
            step, factor = (self.file.integer(range_[name], of, f"'{name}' of {what}")
                            if name in range_ else 1 for name in ("step", "multiplier"))
            return self._numbers(of, low, high, step, factor)
        if "wildcard" in parts:
            raise self.file.error(node, f"all that may be said for {what}", "a wildcard")
        if "values" not in parts:
            raise self.file.error(node, f"'values' or 'range' for {what}",
                                  shown(", ".join(parts)) or "nothing")
        said: dict[tuple[str, ...], t.Value] = {}
        for item in self.file.sequence(parts["values"], node, f"'values' of {what}"):
            for words, value in self._item(item, what):
                said.setdefault(words, value)
        if not said:
            raise self.file.error(parts["values"], f"'values' of {what}", "none")
        return self._values(parts["values"], said)

    def _item(self, item: yaml.Node, what: str) -> list[tuple[tuple[str, ...], t.Value]]:
        from hassil.util import is_template

        spoken_as, out = item, None
        if item.id == "mapping":
            parts = self.file.mapping(item, f"a value of {what}")
            if "in" not in parts:
                raise self.file.error(item, f"'in' for a value of {what}", shown(", ".join(parts)))
            spoken_as = parts["in"]
            if "out" in parts:
                out = self.file.value(parts["out"], f"'out' of {what}")
        text = self.file.text(spoken_as, f"a value of {what}")
        ways = t.sentences(self.parsed(spoken_as, f"a value of {what}"),
                           f"{self.file.name}, line {item.start_mark.line + 1}")
        if not all(ways):
            raise self.file.error(item, f"values of {what} that always say something",
                                  f"'{shown(text)}'")
        if out is None and not is_template(text):
            out = text.strip()
        return [(words, " ".join(words).lower() if out is None else out) for words in ways]

    def _numbers(self, node: yaml.Node, low: int, high: int, step: int, factor: int = 1
                 ) -> t.Values:
        if not self.language.startswith("en"):
            raise self.file.error(node, "'language: en' for numbers, which are spoken in English",
                                  f"'{shown(self.language)}'")
        if (not -LARGEST <= low <= high <= LARGEST or step < 1
                or (high - low) // step >= t.MAX_LIST):
            raise self.file.error(
                node, f"a range of at most {t.MAX_LIST} numbers from low to high, between "
                f"-{LARGEST} and {LARGEST}", f"{low} to {high} by {step}")
        return self._values(node, {words: number * factor for number in range(low, high + 1, step)
                                   for words in spoken(number)})

    def _values(self, node: yaml.Node, said: dict[tuple[str, ...], t.Value]) -> t.Values:
        self.file.spoken += len(said)
        if len(said) > t.MAX_LIST or self.file.spoken > t.MAX_SPOKEN:
            raise self.file.error(node, f"at most {t.MAX_LIST} ways to say the values of a list, "
                                  f"{t.MAX_SPOKEN} in a file", "more")
        return t.Values(said, node.start_mark.line + 1)


def _is_integer(text: str) -> bool:
    return re.fullmatch("-?[0-9]{1,9}", text) is not None
