"""Lines of logs as entries with a time, and which of them somebody wants to see."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from otel_forge.errors import ForgeError

_ISO = re.compile(r"(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d):(\d\d)(?:[.,](\d{1,9}))?(?:Z|([+-]\d\d):?(\d\d))?")
_NEAR_THE_START = 200
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h|d|w)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_TRACE_ID = re.compile(r"[0-9a-f]{32}")
_ERROR_LEVELS = {"ERROR", "FATAL", "CRITICAL"}
_DISORDER = 60.0
"""Seconds by which the lines of one file may be out of order: processes stamp them before they write them."""


class SelectionError(ForgeError):
    """What was asked for cannot be understood; the message says what is allowed."""


@dataclass(frozen=True)
class Entry:
    """One line of the log of `source`; `fields` where it is a JSON object."""

    source: str
    text: str
    fields: Mapping[str, Any] | None = None

    @property
    def time(self) -> float | None:
        """The Unix time at which it was made, if it says so."""
        return time_in(self.text)


def entry_of(source: str, line: bytes) -> Entry:
    """Return the entry that a line is."""
    text = line.decode("utf-8", "replace").rstrip("\r")
    return Entry(source, text, fields_in(text))


def fields_in(text: str) -> Mapping[str, Any] | None:
    """Return the fields of a line that is a JSON object, or None for any other text."""
    if not text.startswith("{"):
        return None
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return fields if isinstance(fields, dict) else None


def time_in(text: str) -> float | None:
    """Return the Unix time of the first ISO 8601 time near the start of a line; one without a zone is UTC."""
    found = _ISO.search(text, 0, _NEAR_THE_START)
    if found is None:
        return None
    *parts, fraction, hours, minutes = found.groups()
    try:
        year, month, day, hour, minute, second = map(int, parts)
        whole = datetime(year, month, day, hour, minute, second, tzinfo=timezone.utc).timestamp()
    except ValueError:
        return None
    return whole - _offset(hours, minutes) + float(f"0.{fraction or 0}")


def _offset(hours: str | None, minutes: str | None) -> int:
    """Return the seconds by which a zone is ahead of UTC."""
    if hours is None or minutes is None:
        return 0
    seconds = 60 * int(minutes)
    return 3600 * int(hours) + (-seconds if hours.startswith("-") else seconds)


@dataclass(frozen=True)
class Selection:
    """Which lines are wanted; every condition that is set must hold."""

    since: float | None = None
    pattern: re.Pattern[str] | None = None
    trace_id: str | None = None
    errors: bool = False
    is_error_text: Callable[[str], bool] = lambda text: False
    """Tells whether a line that is no JSON reports an error."""

    @property
    def is_narrowed(self) -> bool:
        """Whether anything but errors is asked for."""
        return self.since is not None or self.pattern is not None or self.trace_id is not None

    def keeps(self, line: bytes) -> bool:
        """Return whether the line is wanted."""
        if self.trace_id is not None and self.trace_id.encode() not in line:
            return False
        if not (self.since is not None or self.pattern or self.errors):
            return True
        text = line.decode("utf-8", "replace")
        return self._is_late_enough(text) and self._matches(text) and self._is_serious_enough(text)

    def is_over_before(self, line: bytes) -> bool:
        """Return whether neither this line nor any before it can be wanted."""
        if self.since is None:
            return False
        moment = time_in(line[:_NEAR_THE_START].decode("utf-8", "replace"))
        return moment is not None and moment < self.since - _DISORDER

    def _is_late_enough(self, text: str) -> bool:
        if self.since is None:
            return True
        moment = time_in(text)
        return moment is None or moment >= self.since

    def _matches(self, text: str) -> bool:
        if self.pattern is None or self.pattern.search(text):
            return True
        message = (fields_in(text) or {}).get("message")  # as it reads, without JSON's escapes
        return isinstance(message, str) and self.pattern.search(message) is not None

    def _is_serious_enough(self, text: str) -> bool:
        if not self.errors:
            return True
        fields = fields_in(text)
        if fields is None:
            return self.is_error_text(text)
        return str(fields.get("level", "")).upper() in _ERROR_LEVELS


EVERYTHING = Selection()


def since_from(text: str, now: float) -> float:
    """Return the Unix time that `10m`, `2h`, `1d` or an ISO 8601 time means; one without a zone is UTC.

    Raises SelectionError.
    """
    stripped = text.strip()
    if duration := _DURATION.fullmatch(stripped):
        return now - float(duration[1]) * _SECONDS[duration[2]]
    try:
        moment = datetime.fromisoformat(f"{stripped[:-1]}+00:00" if stripped.endswith(("Z", "z")) else stripped)
        return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()
    except (ValueError, OverflowError):
        raise SelectionError(
            f"'{text}' is no time: a duration such as 30s, 10m, 2h, 7d, or ISO 8601 such as 2026-11-23T10:00:00Z."
        ) from None


def pattern_from(text: str) -> re.Pattern[str]:
    """Return the regular expression; raise SelectionError for one that is none."""
    try:
        return re.compile(text)
    except re.error as error:
        raise SelectionError(f"'{text}' is no regular expression: {error}.") from None


def trace_id_from(text: str) -> str:
    """Return the trace id in lower case; raise SelectionError for a text that is none."""
    trace_id = text.strip().lower()
    if not _TRACE_ID.fullmatch(trace_id) or not trace_id.strip("0"):
        raise SelectionError(f"'{text}' is no trace id, which is 32 hexadecimal digits.")
    return trace_id


def by_time(batches: Iterable[Iterable[Entry]]) -> list[Entry]:
    """Return the entries of several logs in the order of their times.

    Within one log the order is that of writing: a line without a time, or with one before that of the
    line above it, stays below that line.
    """
    stamped: list[tuple[float, Entry]] = []
    for batch in batches:
        moment = 0.0
        for entry in batch:
            moment = max(moment, entry.time or 0.0)
            stamped.append((moment, entry))
    return [entry for _, entry in sorted(stamped, key=lambda pair: pair[0])]
