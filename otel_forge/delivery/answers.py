"""What the other side answered to a request, and what that means for the data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from enum import Enum

TEMPORARY = frozenset((429, 502, 503, 504))
"""Statuses after which OTLP has the client try again (specification: OTLP/HTTP, retryable response codes)."""


class Verdict(Enum):
    """What becomes of the data of a request."""

    DELIVERED = "delivered"
    LATER = "later"
    """Keep it and try again."""
    TOO_LARGE = "too large"
    """Cut it in halves and try those."""
    REFUSED = "refused"
    """It will never be taken; drop it."""


@dataclass(frozen=True)
class Outcome:
    """The result of one request; `retry_after` in seconds, `rejected` in items, `reason` in a few words."""

    verdict: Verdict
    reason: str = ""
    status: int = 0
    retry_after: float | None = None
    rejected: int = 0


def outcome_of(
    status: int, phrase: str, headers: Mapping[str, str], body: bytes, now: datetime | None = None
) -> Outcome:
    """Return what an HTTP answer means.

    A redirect is a failure: nothing was taken. It is kept for later, because it is often the doing of something in
    between that goes away again. Any other status that is not listed as temporary must not be tried again
    (specification: OTLP/HTTP, failures), a 404 of a server without OTLP included.
    """
    reason = f"HTTP {status} {phrase}".strip()
    if 200 <= status < 300:
        rejected, message = partial_success(body)
        return Outcome(Verdict.DELIVERED, message, status, rejected=rejected)
    if status == 413:
        return Outcome(Verdict.TOO_LARGE, reason, status)
    if status in TEMPORARY or 300 <= status < 400:
        wait = retry_after(headers.get("Retry-After", ""), now or datetime.now(timezone.utc))
        return Outcome(Verdict.LATER, reason, status, retry_after=wait)
    if status in (404, 405):
        reason += ", so nothing takes OTLP at this address"
    return Outcome(Verdict.REFUSED, reason, status)


def retry_after(text: str, now: datetime) -> float | None:
    """Return the seconds of a Retry-After header, which holds a number or a date; None if it holds neither."""
    text = text.strip()
    if text.isdecimal():
        return float(text)
    from email.utils import parsedate_to_datetime

    try:
        date = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=timezone.utc)
    return max((date - now).total_seconds(), 0.0)


def partial_success(body: bytes) -> tuple[int, str]:
    """Return how many items an Export…ServiceResponse says were rejected, and its message.

    The response has one field, the partial success (1), with the count (1) and the message (2). Anything
    that can't be read counts as nothing rejected.
    """
    try:
        message = _fields(body).get(1, b"")
        if not isinstance(message, bytes):
            return 0, ""
        fields = _fields(message)
        count, text = fields.get(1, 0), fields.get(2, b"")
        return (
            count if isinstance(count, int) and count < 1 << 63 else 0,
            text.decode("utf-8", "replace") if isinstance(text, bytes) else "",
        )
    except (IndexError, ValueError):
        return 0, ""


def _fields(message: bytes) -> dict[int, int | bytes]:
    """Return the last value of each field of a protobuf message; raises ValueError or IndexError if it is none."""
    return dict(fields_of(message))


def fields_of(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield number and value of each field of a protobuf message, repeated ones again and again.

    Fields of fixed length are left out. Raises ValueError or IndexError if it is no such message.
    """
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, position = _varint(message, position)
            yield number, value
        elif kind == 2:
            length, position = _varint(message, position)
            if length > len(message) - position:
                raise ValueError("cut off")
            yield number, message[position : position + length]
            position += length
        elif kind in (1, 5):
            position += 8 if kind == 1 else 4
        else:
            raise ValueError("no such wire type")


def _varint(message: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
        shift += 7
        if shift > 63:
            raise ValueError("varint too long")
