"""What is remembered of an exception that was captured: so that nothing about it is said twice.

An exception is often seen several times on its way up: where it is captured, in the span that it leaves, in Flask's own
log, in Sentry's integrations. The memory is kept on the exception itself and goes with it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

_NAME = "_otel_forge_captured"


@dataclass
class Captured:
    """Where one exception has been recorded already."""

    is_logged: bool = False
    is_reported: bool = False
    """Whether an error tracker was asked about it; it may have declined."""
    event_id: str | None = None
    span_ids: set[int] = field(default_factory=set)


def captured(error: BaseException) -> Captured:
    """Return what is remembered of `error`, which is remembered from now on."""
    known = find(error)
    if known is None:
        known = Captured()
        try:
            BaseException.__setattr__(error, _NAME, known)  # past the __setattr__ of a frozen dataclass
        except Exception:  # noqa: BLE001 - a class of the application's own making; then nothing is remembered
            return known
    return known


def find(error: BaseException) -> Captured | None:
    """Return what is remembered of `error`, or None if it was never captured."""
    try:
        found = BaseException.__getattribute__(error, "__dict__").get(_NAME)
    except Exception:  # noqa: BLE001 - as above
        return None
    return found if isinstance(found, Captured) else None


def is_recorded(error: BaseException, span_id: int) -> bool:
    """Return whether `error` was captured as an event of the span `span_id`."""
    known = find(error)
    return known is not None and span_id in known.span_ids
