"""Kinds of values: type and bounds, for checks and in words."""

import reprlib
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from .values import printable


@dataclass(frozen=True)
class Kind:
    """A type with its bounds, in `words`, and whether a value `fits` them."""

    words: str
    fits: Callable[[Any], bool]

    def of(self, name: str, value):
        """The value, a tuple where it is a list. ValueError, which has its name, for another."""
        kept = tuple(value) if isinstance(value, list) else value
        if not self.fits(kept):
            given = printable(reprlib.repr(value))
            raise ValueError(f"{name} = {given}, which does not fit: {self.words} is needed.")
        return kept


def whole(least: int, most: int) -> Kind:
    def fits(value):
        return (
            isinstance(value, Integral) and not isinstance(value, bool) and least <= value <= most
        )

    return Kind(f"a whole number from {least} to {most}", fits)


def number(least: float, most: float) -> Kind:
    return Kind(f"a number from {least:g} to {most:g}", lambda x: real(x) and least <= x <= most)


def between(least: float, most: float) -> Kind:
    """Neither of the two."""
    words = f"a number between {least:g} and {most:g}"
    return Kind(words, lambda value: real(value) and least < value < most)


def flag() -> Kind:
    return Kind("true or false", lambda value: isinstance(value, bool))


def word(*choices: str) -> Kind:
    """One of two or more."""
    words = f"{', '.join(choices[:-1])} or {choices[-1]}"
    return Kind(words, lambda value: isinstance(value, str) and value in choices)


def text() -> Kind:
    return Kind("a text", lambda value: isinstance(value, str))


def several(one: Kind, least: int, most: int) -> Kind:
    def fits(value):
        return (
            isinstance(value, tuple) and least <= len(value) <= most and all(map(one.fits, value))
        )

    count = f"{least}" if least == most else f"{least} to {most}"
    return Kind(f"a list of {count}, each {one.words},", fits)


def optional(kind: Kind) -> Kind:
    return Kind(f"null or {kind.words}", lambda value: value is None or kind.fits(value))


def real(value) -> bool:
    """Whether it is a number; not a finite one alone."""
    return isinstance(value, Real) and not isinstance(value, bool)
