"""Field values as plain data: what a view can write, whatever the application put into a field.

Nothing here raises or goes on for ever: an object that cannot be printed is named, a structure that contains itself
or is too deep ends in a mark, and a text that is too long is cut and says how long it was.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date, time
from itertools import islice
from typing import Any

LONGEST = 65_536
"""Characters of a text that a view shows."""

_MOST_ITEMS = 1000
_DEEPEST = 8
_LARGEST_BITS = 1024
_WORD = 256
_SIMPLE = frozenset((int, bool, type(None)))


def cut(text: str, longest: int = LONGEST) -> str:
    """Return `text`, or its first part with a mark; the word at the cut goes, too: half a secret is one."""
    if len(text) <= longest:
        return text
    kept = text[:longest]
    space = max(kept.rfind(" ", longest - _WORD), kept.rfind("\n", longest - _WORD))
    return f"{kept[:space] if space > 0 else kept}… [cut, {len(text):,} characters]"


def plain_fields(fields: Mapping[str, Any], longest: int = LONGEST) -> dict[str, Any]:
    """Return `fields` as data that JSON can hold: texts, numbers, lists and dicts with texts as keys. Never raises."""
    plain = _Plain(longest)
    return {_key(name): plain.value(value) for name, value in fields.items()}


def plain_text(value: Any) -> str:
    """Return `value` as a text, whatever it is. Never raises."""
    try:
        return str.__str__(str(value))
    except Exception as error:  # noqa: BLE001 - the application's own objects
        return _unprintable(value, error)


def _unprintable(value: Any, error: Exception) -> str:
    return f"<{type(value).__name__} cannot be printed: {type(error).__name__}>"


class _Plain:
    """Makes the values of one record plain; all of them together may have so many items."""

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._left = _MOST_ITEMS
        self._inside: set[int] = set()

    def value(self, value: Any) -> Any:
        kind = type(value)
        if kind is str:
            return cut(value, self._longest)
        if kind in _SIMPLE and (kind is not int or value.bit_length() <= _LARGEST_BITS):
            return value
        try:
            return self._unusual(value)
        except Exception as error:  # noqa: BLE001 - the application's own objects
            return _unprintable(value, error)

    def _unusual(self, value: Any) -> Any:
        if isinstance(value, str):
            return cut(str.__str__(value), self._longest)
        if isinstance(value, float):
            number = float.__float__(value)
            return number if math.isfinite(number) else str(number)
        if type(value) is int:
            return f"<int of {value.bit_length()} bits>"
        if isinstance(value, (bytes, bytearray)):
            return cut(bytes(value[: self._longest + 1]).decode("utf-8", "backslashreplace"), self._longest)
        if isinstance(value, (Mapping, list, tuple, set, frozenset)):
            return self._container(value)
        if isinstance(value, (date, time)):
            return value.isoformat()
        if isinstance(value, BaseException):
            return cut(f"{type(value).__name__}: {value}", self._longest)
        return cut(str.__str__(str(value)), self._longest)

    def _container(self, value: Any) -> Any:
        if id(value) in self._inside:
            return f"<{type(value).__name__} that contains itself>"
        if len(self._inside) >= _DEEPEST:
            return f"<{type(value).__name__} too deep>"
        self._inside.add(id(value))
        try:
            return self._mapping(value) if isinstance(value, Mapping) else self._items(value)
        finally:
            self._inside.discard(id(value))

    def _mapping(self, value: Mapping[Any, Any]) -> dict[str, Any]:
        plain: dict[str, Any] = {}
        for name, item in value.items():
            if self._left <= 0:
                plain["…"] = f"[cut, {len(value):,} items]"
                break
            self._left -= 1
            plain[_key(name)] = self.value(item)
        return plain

    def _items(self, value: Any) -> list[Any]:
        plain = []
        for item in islice(value, max(self._left, 0)):
            self._left -= 1
            plain.append(self.value(item))
        if len(plain) < len(value):
            plain.append(f"… [cut, {len(value):,} items]")
        return plain


def _key(name: Any) -> str:
    return name if type(name) is str and len(name) <= _WORD else cut(plain_text(name), _WORD)
