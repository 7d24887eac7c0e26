"""Whole numbers as they are spoken."""

from __future__ import annotations

LARGEST = 999_999

_SMALL = (
    "ZERO ONE TWO THREE FOUR FIVE SIX SEVEN EIGHT NINE TEN ELEVEN TWELVE THIRTEEN FOURTEEN FIFTEEN "
    "SIXTEEN SEVENTEEN EIGHTEEN NINETEEN").split()
_TENS = "TWENTY THIRTY FORTY FIFTY SIXTY SEVENTY EIGHTY NINETY".split()


def spoken(number: int) -> list[tuple[str, ...]]:
    """The ways of saying a number between -`LARGEST` and `LARGEST`.

    "Twenty one"; "one" or "a" hundred or thousand where it begins the number; "and" may stand after
    a hundred, and after a thousand when less than a hundred follows; "minus" below zero.
    """
    if number < 0:
        return [("MINUS", *words) for words in spoken(-number)]
    if number < 20:
        return [(_SMALL[number],)]
    if number < 100:
        ten = _TENS[number // 10 - 2]
        return [(ten, *unit) for unit in _rest(number % 10)]
    unit, name = (100, "HUNDRED") if number < 1000 else (1000, "THOUSAND")
    count, rest = divmod(number, unit)
    heads = spoken(count) + [("A",)] * (count == 1)
    links = [(), ("AND",)] if 0 < rest < 100 else [()]
    return [(*head, name, *link, *tail) for head in heads for link in links for tail in _rest(rest)]


def _rest(number: int) -> list[tuple[str, ...]]:
    """What follows tens, hundreds or thousands: nothing for zero."""
    if number == 0:
        return [()]
    # Only the number itself begins with "a".
    return [words for words in spoken(number) if words[0] != "A"]
