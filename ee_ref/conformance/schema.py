"""The part of JSON Schema that manifest.schema.json uses, checked with errors that name the place.

Knows type, enum, pattern, minimum, required, properties, additionalProperties false, items and
$ref into $defs; a schema with another keyword is refused, so that nothing is passed over unseen.
"""

from __future__ import annotations

import re
import reprlib
from collections.abc import Mapping
from typing import Any

from ..errors import EeError, shown

_TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict, "array": list, "string": str, "integer": int, "number": (int, float)}
_IGNORED = {"$schema", "title", "$defs"}
_KNOWN = {"type", "enum", "pattern", "minimum", "required", "properties", "additionalProperties",
          "items", "$ref"}


class SchemaError(EeError, ValueError):
    """A document that its schema does not admit."""


def check(document: Any, schema: Mapping[str, Any]) -> None:
    """Raise SchemaError at the first place where `document` is not as `schema` says."""
    _check(document, schema, schema, "$")


def _check(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any], at: str) -> None:
    unknown = schema.keys() - _KNOWN - _IGNORED
    if unknown:
        raise SchemaError(f"schema at {at}: keywords that are not known: {sorted(unknown)}")
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
    kind = schema.get("type")
    if kind is not None and (not isinstance(value, _TYPES[kind]) or isinstance(value, bool)):
        raise SchemaError(f"{at}: expected {kind}, found {_short(value)}")
    if "enum" in schema and value not in schema["enum"]:
        raise SchemaError(f"{at}: expected one of {schema['enum']}, found {_short(value)}")
    if "pattern" in schema and not _found(schema["pattern"], value):
        raise SchemaError(f"{at}: expected text like {schema['pattern']}, found {_short(value)}")
    if "minimum" in schema and not value >= schema["minimum"]:
        raise SchemaError(f"{at}: expected at least {schema['minimum']}, found {_short(value)}")
    if isinstance(value, dict):
        _check_object(value, schema, root, at)
    if isinstance(value, list) and "items" in schema:
        for index, item in enumerate(value):
            _check(item, schema["items"], root, f"{at}[{index}]")


def _check_object(value: dict, schema: Mapping[str, Any], root: Mapping[str, Any], at: str) -> None:
    for name in schema.get("required", ()):
        if name not in value:
            raise SchemaError(f"{at}: expected {name!r}, found none")
    properties = schema.get("properties", {})
    for name, item in value.items():
        if name in properties:
            _check(item, properties[name], root, f"{at}.{name}")
        elif schema.get("additionalProperties") is False:
            raise SchemaError(f"{at}: expected no {name!r:.60}")


def _short(value: Any) -> str:
    return shown(_REPR.repr(value), 60)


_REPR = reprlib.Repr()  # of what is long or deep, only the beginning
_REPR.maxstring = _REPR.maxlong = _REPR.maxother = 60


def _found(pattern: str, text: str) -> bool:
    """Whether a pattern of JSON Schema is found; its $ is the end, also before a last new line."""
    return re.search(pattern.replace("$", r"\Z"), text) is not None
