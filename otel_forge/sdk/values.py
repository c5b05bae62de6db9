"""Attribute values as the request thread keeps them: plain, immutable, detached from the application.

What is plain already (nearly everything) is kept as it is; containers are copied, because the application
may change them later; any other object is turned into text here and now, because its ``str`` may depend on
the thread (a werkzeug proxy, an ORM object with a session). The rules are those of upstream's
``BoundedAttributes``; what would raise there is left to the encoder,
which marks it. Cutting to limits happens when encoding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

PLAIN: frozenset[type] = frozenset((str, int, float, bool, bytes, type(None)))

_all_plain = PLAIN.issuperset


def plain_values(attributes: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return a copy of `attributes` with plain values; keys are left as they are."""
    copied = dict(attributes)
    if not _all_plain(map(type, copied.values())):
        for key, value in copied.items():
            if type(value) not in PLAIN:
                copied[key] = plain(value)
    return copied


def plain_copy(attributes: Mapping[Any, Any] | None) -> dict[Any, Any] | None:
    """Return `plain_values` of something that should be a mapping or None; anything else gives None."""
    if not attributes:
        return None
    try:
        return plain_values(attributes)
    except Exception:  # noqa: BLE001 - not a mapping, or one that raises
        return None


def plain(value: Any) -> Any:
    """Return `value` as a plain value, or a tuple or dict of such. Never raises."""
    if type(value) in PLAIN:
        return value
    try:
        return _plain(value, {})
    except Exception:  # noqa: BLE001 - whatever the application's object raises, it stays here
        return unreadable(value)


def _plain(value: Any, seen: dict[int, Any]) -> Any:
    """Do what `plain` says; `seen` holds the copies of containers, so that cycles and repetitions end."""
    if type(value) in PLAIN:
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, float):
        return float.__float__(value)
    if isinstance(value, bytes):
        return bytes(value)
    if isinstance(value, (Sequence, Mapping)):
        if id(value) not in seen:
            seen[id(value)] = value  # met again inside itself, it stays as it is: the encoder cuts it there
            copy = _plain_tuple if isinstance(value, Sequence) else _plain_dict
            seen[id(value)] = copy(value, seen)
        return seen[id(value)]
    if not has_text(value):
        return None
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - the application's own __str__
        return unreadable(value)


def _plain_tuple(value: Any, seen: dict[int, Any]) -> tuple[Any, ...]:
    return tuple([item if type(item) in PLAIN else _plain(item, seen) for item in value])


def _plain_dict(value: Any, seen: dict[int, Any]) -> dict[str, Any]:
    cleaned: dict[str, Any] = {}
    for key, item in value.items():
        name = key_text(key)
        if name:
            cleaned[name] = _plain(item, seen)
    return cleaned


def unreadable(value: Any) -> Any:
    """Return what stands for a value that cannot be read: the encoder finds its ``str`` raising, too, and marks it."""
    return type(type(value).__name__, (_Unreadable,), {})()


class _Unreadable:
    """Has no text. Its subclasses bear the names of types whose ``str`` raised."""

    def __str__(self) -> str:
        raise ValueError("this value could not be read when it was recorded")


def key_text(key: Any) -> str:
    """Return the key of an attribute as text; empty if it cannot be one."""
    if not key:
        return ""
    if isinstance(key, str):
        return str.__str__(key)
    return str(key) if has_text(key) else ""


def has_text(value: Any) -> bool:
    """Return whether the type of `value` says how it is written, so that ``str`` gives more than an address."""
    kind: Any = type(value)
    return kind.__str__ is not object.__str__ or kind.__repr__ is not object.__repr__
