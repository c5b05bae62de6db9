"""Runs every query of the dashboards and alerts against real stores and says which return nothing.

    python -m grafana.src.live --service asset-forge [--faults] [--since 900]
                               [--prometheus URL] [--loki URL] [--tempo URL]

Tests call `check` and look at `failures`:

    outcomes = check(Stores(prometheus, loki, tempo), "asset-forge", start=..., end=...)
    assert not failures(outcomes, faults_injected=True), report(outcomes)
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import requests

from grafana.src.boards import BOARDS
from grafana.src.queries import (
    Query,
    alert_queries,
    dashboard_queries,
    everything,
    label_values,
    link_queries,
)
from grafana.src.render import rendered

STEP_SECONDS = 15
TIMEOUT_SECONDS = 30
# How many series of a panel are clicked in search of one whose link has an answer.
CLICKS = 20
NANOSECONDS = 1_000_000_000


@dataclass(frozen=True)
class Stores:
    """Where the stores answer: base addresses without a path."""

    prometheus: str = "http://127.0.0.1:9090"
    loki: str = "http://127.0.0.1:3100"
    tempo: str = "http://127.0.0.1:3200"


@dataclass(frozen=True)
class Window:
    """A time range in seconds since the epoch."""

    start: float
    end: float

    @property
    def seconds(self) -> int:
        """Return its length."""
        return max(1, int(self.end - self.start))


@dataclass(frozen=True)
class Outcome:
    """What a query returned: how many finite values, lines, traces or names; or why it failed."""

    query: Query
    count: int
    error: str = ""

    def is_failure(self, faults_injected: bool) -> bool:
        """Return whether this is wrong: an error, or nothing where there had to be something."""
        expected = self.query.needs == "traffic" or (self.query.needs == "faults" and faults_injected)
        return bool(self.error) or (expected and self.count == 0)


def all_queries() -> list[Query]:
    """Return every query of every dashboard, data link and alert, variables not yet filled in."""
    queries: list[Query] = []
    for board in BOARDS:
        dashboard = rendered(board)
        queries += dashboard_queries(dashboard, board.empty_when_healthy)
        queries += link_queries(dashboard, board.empty_when_healthy)
    return [*queries, *alert_queries()]


def check(
    stores: Stores, service: str, *, start: float, end: float, queries: Iterable[Query] | None = None
) -> list[Outcome]:
    """Run the queries (by default all) for one service over a time range in epoch seconds."""
    window = Window(start, end)
    choice = everything(service, window.seconds)
    with requests.Session() as session:
        runner = Runner(session, stores, window)
        return [runner.run(query.filled(choice)) for query in (all_queries() if queries is None else queries)]


def failures(outcomes: Iterable[Outcome], *, faults_injected: bool) -> list[Outcome]:
    """Return what is wrong; where faults were injected, panels that show faults must have data too."""
    return [outcome for outcome in outcomes if outcome.is_failure(faults_injected)]


def report(outcomes: Iterable[Outcome]) -> str:
    """Return one line per query: how much it returned, where it stands, and the text that was run."""
    return "\n".join(
        f"{outcome.error or outcome.count!s:>8}  {outcome.query.where} [{outcome.query.kind}]  {outcome.query.text}"
        for outcome in outcomes
    )


@dataclass(frozen=True)
class Runner:
    """Asks the stores over HTTP."""

    session: requests.Session
    stores: Stores
    window: Window

    def run(self, query: Query) -> Outcome:
        """Run one filled-in query; one behind a data link is asked for series after series of its panel."""
        try:
            if not query.clicked:
                return Outcome(query, self._count(query))
            asked = [query.on_series(labels) for labels in self._series(query)[:CLICKS]]
            found = ((click, self._count(click)) for click in asked)
            return next((Outcome(click, count) for click, count in found if count), Outcome(query, 0))
        except (requests.RequestException, ValueError, KeyError) as error:
            return Outcome(query, 0, f"{type(error).__name__}: {error}")

    def _count(self, query: Query) -> int:
        if query.kind == "logql":
            return self._logql(query.text)
        if query.kind == "traceql":
            return self._traceql(query.text)
        if query.kind == "label values":
            return self._label_values(query.text)
        if query.kind == "exemplars":
            return self._exemplars(query.text)
        return self._promql(query.text, instant=query.kind == "promql instant")

    def _series(self, query: Query) -> list[dict[str, str]]:
        """Return the labels of every series that the panel of a data link shows."""
        if query.kind == "logql":
            asked = self._logs(query.clicked)
            return [stream.get("metric", {}) for stream in asked["data"]["result"]]
        asked = self._range(query.clicked)
        return [series["metric"] for series in asked["data"]["result"]]

    def _promql(self, text: str, *, instant: bool) -> int:
        data = self._now(text) if instant else self._range(text)
        return _finite(data["data"]["result"])

    def _now(self, text: str) -> Any:
        return self._get(f"{self.stores.prometheus}/api/v1/query", {"query": text, "time": self.window.end})

    def _range(self, text: str) -> Any:
        parameters = {
            "query": text,
            "start": self.window.start,
            "end": self.window.end,
            "step": STEP_SECONDS,
        }
        return self._get(f"{self.stores.prometheus}/api/v1/query_range", parameters)

    def _exemplars(self, text: str) -> int:
        parameters = {"query": text, "start": self.window.start, "end": self.window.end}
        data = self._get(f"{self.stores.prometheus}/api/v1/query_exemplars", parameters)
        return sum(len(series["exemplars"]) for series in data["data"])

    def _label_values(self, definition: str) -> int:
        series, label = label_values(definition)
        parameters = {"match[]": series, "start": self.window.start, "end": self.window.end}
        data = self._get(f"{self.stores.prometheus}/api/v1/label/{label}/values", parameters)
        return len(data["data"])

    def _logql(self, text: str) -> int:
        return sum(len(stream["values"]) for stream in self._logs(text)["data"]["result"])

    def _logs(self, text: str) -> Any:
        parameters = {
            "query": text,
            "start": int(self.window.start * NANOSECONDS),
            "end": int(self.window.end * NANOSECONDS),
            "step": f"{STEP_SECONDS}s",
            "limit": 100,
        }
        return self._get(f"{self.stores.loki}/loki/api/v1/query_range", parameters)

    def _traceql(self, text: str) -> int:
        parameters = {
            "q": text,
            "start": int(self.window.start),
            "end": math.ceil(self.window.end),
            "limit": 20,
        }
        data = self._get(f"{self.stores.tempo}/api/search", parameters)
        return len(data.get("traces") or [])

    def _get(self, url: str, parameters: Mapping[str, Any]) -> Any:
        answer = self.session.get(url, params=parameters, timeout=TIMEOUT_SECONDS)
        if not answer.ok:
            raise ValueError(f"HTTP {answer.status_code}: {answer.text[:300].strip()}")
        return answer.json()


def _finite(result: Any) -> int:
    """Count the values that a panel could draw; a series of NaN is as empty as none."""
    samples = [sample for series in result for sample in series.get("values", [series.get("value")])]
    return sum(1 for sample in samples if sample and math.isfinite(float(sample[1])))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all queries against the stores named on the command line and print what each returned."""
    defaults = Stores()
    parser = argparse.ArgumentParser(prog="python -m grafana.src.live")
    parser.add_argument("--service", required=True, help="service.name to fill in")
    parser.add_argument("--since", type=float, default=900, help="seconds to look back (default 900)")
    parser.add_argument("--faults", action="store_true", help="faults were injected: nothing may be empty")
    parser.add_argument("--prometheus", default=defaults.prometheus)
    parser.add_argument("--loki", default=defaults.loki)
    parser.add_argument("--tempo", default=defaults.tempo)
    chosen = parser.parse_args(arguments)
    now = time.time()
    stores = Stores(chosen.prometheus, chosen.loki, chosen.tempo)
    outcomes = check(stores, chosen.service, start=now - chosen.since, end=now)
    wrong = failures(outcomes, faults_injected=chosen.faults)
    print(report(outcomes))
    print(f"{len(outcomes)} queries, {len(wrong)} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
