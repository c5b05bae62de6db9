"""Parsers of setting values: each knows how to read one kind of value and how to say what is allowed.

A parser is called with the stripped, non-empty text of a variable and returns the value or raises
``ValueError``; ``allowed`` finishes the sentence "X='…' is not …".
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit


@dataclass(frozen=True)
class Parser:
    """How to read one kind of value, and how to say what is allowed."""

    read: Callable[[str], Any]
    allowed: str

    def __call__(self, text: str) -> Any:
        """Return the value of `text`; raises ValueError when it is none of the allowed."""
        return self.read(text)


TEXT = Parser(str, "a text")


def _boolean(text: str) -> bool:
    """Return whether `text` is ``true``; anything else but ``false`` is an error (specification: Boolean value)."""
    lowered = text.lower()
    if lowered not in {"true", "false"}:
        raise ValueError(text)
    return lowered == "true"


BOOLEAN = Parser(_boolean, "true or false")


def choice(*allowed: str) -> Parser:
    """Return a parser of one of the `allowed` words, whatever their case."""

    def read(text: str) -> str:
        if text.lower() not in allowed:
            raise ValueError(text)
        return text.lower()

    return Parser(read, f"one of {', '.join(allowed)}")


def integer(minimum: int = 0, maximum: int | None = None) -> Parser:
    """Return a parser of a whole number from `minimum` to `maximum`."""

    def read(text: str) -> int:
        number = int(text)
        if number < minimum or (maximum is not None and number > maximum):
            raise ValueError(text)
        return number

    upper = f"to {maximum}" if maximum is not None else "up"
    return Parser(read, f"a whole number from {minimum} {upper}")


def number(minimum: float, maximum: float = math.inf, *, unit: str = "", above: bool = False) -> Parser:
    """Return a parser of a number in a range; with `above` the minimum itself is excluded."""

    def read(text: str) -> float:
        value = float(text)
        too_small = value <= minimum if above else value < minimum
        if too_small or not value <= maximum or math.isinf(value):
            raise ValueError(text)
        return value

    what = f"a number of {unit}" if unit else "a number"
    lower = f"above {minimum:g}" if above else f"from {minimum:g}"
    upper = "" if math.isinf(maximum) else f" to {maximum:g}"
    return Parser(read, f"{what} {lower}{upper}")


def _rate(text: str) -> tuple[int, float] | None:
    """Return ``1000/60s`` as (1000, 60.0), and ``off`` as None."""
    if text.lower() == "off":
        return None
    count, _, seconds = text.partition("/")
    rate = int(count), float(seconds.strip().removesuffix("s"))
    if rate[0] < 1 or not 0 < rate[1] < math.inf:
        raise ValueError(text)
    return rate


RATE = Parser(_rate, "off or a number of records in a number of seconds such as 1000/60s")


_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_SIZE = re.compile(r"(\d+)\s*([kmg]?)(?:i?b)?", re.IGNORECASE)


def size(minimum: int) -> Parser:
    """Return a parser of a number of bytes, ``268435456``, ``256MiB`` or ``256M``, of at least `minimum`."""

    def read(text: str) -> int:
        match = _SIZE.fullmatch(text)
        value = int(match[1]) * _UNITS[match[2].lower()] if match else -1
        if value < minimum:
            raise ValueError(text)
        return value

    return Parser(read, f"a size such as 256MiB, from {minimum >> 20}MiB up")


_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"(\d+)\s*([smhd]?)", re.IGNORECASE)


def _duration(text: str) -> float:
    match = _DURATION.fullmatch(text)
    seconds = int(match[1]) * _SECONDS[match[2].lower()] if match else 0
    if seconds <= 0:
        raise ValueError(text)
    return float(seconds)


DURATION = Parser(_duration, "a time such as 24h, 90m or 3600 (seconds)")


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for name in (part.strip() for part in text.split(",")) if name)


NAMES = Parser(_names, "a list of names with commas between them")


def _url(text: str) -> str:
    """Return `text` as an http(s) address; ``host:port`` without a scheme is an error, as the specification has it."""
    parts = urlsplit(text)
    if parts.scheme.lower() not in {"http", "https"} or not parts.hostname:
        raise ValueError(text)
    parts.port  # noqa: B018 - the property raises ValueError for a port that is no number from 0 to 65535
    return text


URL = Parser(_url, "an address such as http://localhost:4318")


_STARTTLS = ("required", "offered", "never")


def _smtp(text: str) -> str:
    """Return `text` as the address of a mail server, which may hold a user and a password."""
    parts = urlsplit(text)
    if parts.scheme.lower() not in {"smtp", "smtps"} or not parts.hostname or parts.path.strip("/"):
        raise ValueError(text)
    parts.port  # noqa: B018 - as in `_url`
    if parts.query and parts.query.lower() not in {f"starttls={choice}" for choice in _STARTTLS}:
        raise ValueError(text)
    return text


SMTP_URL = Parser(
    _smtp,
    "a mail server such as smtp://user:password@mail.example.com:587 or smtps://…, "
    f"with ?starttls={'|'.join(_STARTTLS)} at most",
)

_MAIL_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.\[\]:-]{1,255}")


def _mail_address(text: str) -> str:
    if not _MAIL_ADDRESS.fullmatch(text):
        raise ValueError(text)
    return text


MAIL_ADDRESS = Parser(_mail_address, "a mail address such as alerts@example.com")


def _mail_addresses(text: str) -> tuple[str, ...]:
    return tuple(map(_mail_address, _names(text)))


MAIL_ADDRESSES = Parser(_mail_addresses, "a list of mail addresses with commas between them")


def _routing_key(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9]{32}", text):
        raise ValueError(text)
    return text


ROUTING_KEY = Parser(_routing_key, "an integration key of 32 letters and digits")


class PartlyUsable(ValueError):
    """Some of a list cannot be used; `value` holds the rest."""

    def __init__(self, value: Any) -> None:
        super().__init__("partly usable")
        self.value = value


def _pairs(text: str) -> dict[str, str]:
    """Return ``key=value,key=value`` with percent-encoded values decoded (W3C Baggage form)."""
    pairs: dict[str, str] = {}
    complete = True
    for item in text.split(","):
        if not item.strip():
            continue
        key, separator, value = item.partition("=")
        if not separator or not key.strip():
            complete = False
            continue
        pairs[unquote(key.strip())] = unquote(value.strip())
    if not complete:
        raise PartlyUsable(pairs)
    return pairs


PAIRS = Parser(_pairs, "a list of key=value pairs with commas between them")


def _readable_file(text: str) -> str:
    if not os.path.isfile(text) or not os.access(text, os.R_OK):
        raise ValueError(text)
    return text


READABLE_FILE = Parser(_readable_file, "the path of a file that this process can read")


def _reference(text: str) -> str:
    module, _, name = text.partition(":")
    if not name.isidentifier() or not all(part.isidentifier() for part in module.split(".")):
        raise ValueError(text)
    return text


REFERENCE = Parser(_reference, "a function as module:function")


def _patterns(text: str) -> dict[str, str]:
    """Return ``class=regular expression;class=…``; an expression that could take more than linear time is an error."""
    patterns: dict[str, str] = {}
    complete = True
    for item in text.split(";"):
        if not item.strip():
            continue
        name, separator, pattern = item.strip().partition("=")
        if separator and _CLASS_NAME.fullmatch(name.strip()) and _is_linear(pattern):
            patterns[name.strip()] = pattern
        else:
            complete = False
    if not complete:
        raise PartlyUsable(patterns)
    return patterns


_CLASS_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NESTED_REPETITION = re.compile(r"(?<!\\)[*+}][^()]*\)(?:[*+]|\{[0-9]*,)")


def _is_linear(pattern: str) -> bool:
    """Whether `pattern` can be compiled and repeats nothing that repeats itself, which backtracks exponentially."""
    try:
        re.compile(pattern)
    except re.error:
        return False
    return bool(pattern) and not repeats_a_repetition(pattern)


def repeats_a_repetition(pattern: str) -> bool:
    """Whether a regular expression has a repetition inside a repeated group: matching may take exponential time."""
    return bool(_NESTED_REPETITION.search(pattern))


PATTERNS = Parser(
    _patterns,
    "a list of class=regular expression with semicolons between them (no repetition inside a repeated group)",
)


def _out_of(text: str) -> tuple[int, int]:
    """Return ``2/3`` as (2, 3)."""
    some, _, all_of = text.partition("/")
    found = int(some), int(all_of)
    if not 1 <= found[0] <= found[1] <= 100:
        raise ValueError(text)
    return found


OUT_OF = Parser(_out_of, "some out of so many, such as 2/3")


def _count_in_seconds(text: str) -> tuple[int, float]:
    """Return ``3/600s`` as (3, 600.0)."""
    found = _rate(text)
    if found is None:
        raise ValueError(text)
    return found


COUNT_IN_SECONDS = Parser(_count_in_seconds, "a number in a number of seconds, such as 3/600s")
