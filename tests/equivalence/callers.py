"""Requests that can be told apart in what arrives: numbered, and with callers of every kind in turn."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from asset_forge.traffic import Request

LIMIT = 1000
"""No scene sends as many requests."""

_NO_TRACE = "00-" + "0" * 32 + "-" + "1" * 16 + "-01"


def numbered(requests: Iterable[Request]) -> Iterator[Request]:
    """Yield `requests` with their number as user agent and the headers of a caller."""
    for number, request in enumerate(requests):
        assert number < LIMIT
        headers = (("User-Agent", agent(number)), *caller(number))
        yield replace(request, headers=(*request.headers, *headers))


def agent(number: int) -> str:
    """Return the user agent of a request."""
    return f"equivalence/{number}"


def trace_id(number: int) -> int:
    """Return the trace of a request whose caller has one."""
    return 0xE0_0000_0000_0000_0000_0000_0000_0000 + number


def caller(number: int) -> tuple[tuple[str, str], ...]:
    """Return the headers of a caller: none, sampled, random with state, with baggage, not sampled, broken."""
    return (
        (),
        (_traceparent(number, 1),),
        (_traceparent(number, 3), ("tracestate", "vendor=a:1, other@b=2")),
        (_traceparent(number, 1), ("baggage", "user=ada,tier=gold;since=2020")),
        (_traceparent(number, 0), ("tracestate", "vendor=a:1")),
        (("baggage", "user=ada"),),
        (("traceparent", _NO_TRACE), ("tracestate", "vendor=a:1")),
    )[number % 7]


def is_sampled(number: int) -> bool:
    """Return whether a request is recorded with the default sampler."""
    return number % 7 != 4


def _traceparent(number: int, flags: int) -> tuple[str, str]:
    return "traceparent", f"00-{trace_id(number):032x}-{0x5000_0000 + number:016x}-{flags:02x}"
