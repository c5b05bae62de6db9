"""How long requests take: a sender around the sender that tells somebody."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

from otel_forge.delivery.answers import Outcome, Verdict
from otel_forge.guard import guard

Timed = Callable[[float, Outcome], object]
"""Is told the seconds that a request took, and what came of it."""


class Sends(Protocol):
    """What is needed of a sender here."""

    address: str

    @property
    def send(self) -> Callable[..., Outcome]:
        """Sends one request."""

    def close(self) -> None:
        """Let go of the connection."""


class TimedSender:
    """Sends by another sender, and tells `timed` of each request."""

    def __init__(self, sender: Sends, timed: Timed, clock: Callable[[], float] = time.monotonic) -> None:
        self.address = sender.address
        self._sender = sender
        self._timed = timed
        self._clock = clock

    def send(self, body: bytes, timeout: float | None = None, **how: Any) -> Outcome:
        """Send one request."""
        began = self._clock()
        outcome = self._sender.send(body, timeout, **how)
        with guard("timing a request"):
            self._timed(self._clock() - began, outcome)
        return outcome

    def close(self) -> None:
        """Let go of the connection."""
        self._sender.close()


_KNOWN = frozenset(
    (
        "certificate not trusted",
        "connection closed by the other side",
        "connection refused",
        "connection reset",
        "name resolution failed",
        "network unreachable",
        "no route to host",
        "no time left at exit",
        "timed out",
        "unknown host",
    )
)


def error_type(outcome: Outcome) -> str:
    """Return the cause of a failure as one of few words, for ``error.type``; empty if it was none."""
    if outcome.verdict is Verdict.DELIVERED:
        return "rejected" if outcome.rejected else ""
    if outcome.status:
        return str(outcome.status)
    if outcome.reason.startswith("gRPC "):
        return outcome.reason.split()[1].rstrip(":")
    return outcome.reason.replace(" ", "_") if outcome.reason in _KNOWN else "_OTHER"
