"""The stores' own HTTP APIs, as far as the tests ask them."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import requests

T = TypeVar("T")


@dataclass(frozen=True)
class Span:
    """One span of a trace as Tempo returns it."""

    service: str
    name: str
    kind: str
    span_id: str
    parent_id: str
    attributes: Mapping[str, Any]


@dataclass(frozen=True)
class Stores:
    """Where the stack answers: base addresses without a path."""

    otlp: str
    prometheus: str
    loki: str
    tempo: str

    def promql(self, query: str) -> list[dict[str, Any]]:
        """Return the series of an instant query."""
        found: list[dict[str, Any]] = _get(f"{self.prometheus}/api/v1/query", query=query)["data"]["result"]
        return found

    def number(self, query: str) -> float:
        """Return the one value of an instant query; 0 where it has none."""
        return sum(float(series["value"][1]) for series in self.promql(query))

    def exemplars(self, query: str) -> list[dict[str, Any]]:
        """Return the labels of every exemplar of the last hour."""
        now = time.time()
        data = _get(f"{self.prometheus}/api/v1/query_exemplars", query=query, start=now - 3600, end=now)["data"]
        return [exemplar["labels"] for series in data for exemplar in series["exemplars"]]

    def log_lines(self, query: str) -> list[tuple[dict[str, str], str]]:
        """Return stream labels and line of each log line of the last hour, newest first."""
        now = time.time_ns()
        answer = _get(
            f"{self.loki}/loki/api/v1/query_range", query=query, start=now - 3600 * 10**9, end=now, limit=1000
        )
        return [(stream["stream"], line[1]) for stream in answer["data"]["result"] for line in stream["values"]]

    def search(self, traceql: str) -> list[str]:
        """Return the ids of traces that TraceQL finds in the last hour."""
        now = int(time.time())
        answer = _get(f"{self.tempo}/api/search", q=traceql, start=now - 3600, end=now + 1, limit=20)
        return [found["traceID"].rjust(32, "0") for found in answer.get("traces") or []]

    def trace(self, trace_id: str) -> list[Span]:
        """Return the spans of a trace; empty while Tempo does not know it."""
        answer = requests.get(f"{self.tempo}/api/traces/{trace_id}", timeout=20)
        if answer.status_code == 404:
            return []
        answer.raise_for_status()
        return [
            _span(_attributes(batch["resource"].get("attributes", []))["service.name"], span)
            for batch in answer.json()["batches"]
            for scope in batch["scopeSpans"]
            for span in scope["spans"]
        ]


def _get(url: str, **parameters: Any) -> Any:
    answer = requests.get(url, params=parameters, timeout=30)
    if not answer.ok:
        raise AssertionError(f"{url} answered {answer.status_code} to {parameters}: {answer.text[:500]}")
    return answer.json()


def _span(service: str, span: Mapping[str, Any]) -> Span:
    return Span(
        service=service,
        name=span["name"],
        kind=span["kind"],
        span_id=_hex(span["spanId"]),
        parent_id=_hex(span.get("parentSpanId", "")),
        attributes=_attributes(span.get("attributes", [])),
    )


def _hex(identifier: str) -> str:
    return base64.b64decode(identifier).hex()


def _attributes(pairs: list[dict[str, Any]]) -> dict[str, Any]:
    return {pair["key"]: next(iter(pair["value"].values()), None) for pair in pairs}


def eventually(ask: Callable[[], T], *, within: float = 60.0, until: Callable[[T], Any] = bool) -> T:
    """Return the first answer that satisfies `until`; after `within` seconds, the last one whatever it is."""
    deadline = time.monotonic() + within
    while True:
        answer = ask()
        if until(answer) or time.monotonic() > deadline:
            return answer
        time.sleep(0.5)
