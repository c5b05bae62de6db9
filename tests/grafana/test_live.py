"""The runner tells data from nothing and nothing from an error, over real HTTP."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from grafana.src.live import Stores, all_queries, check, failures, main, report
from grafana.src.queries import Kind, Needs, Query

START, END = 1_000_000.0, 1_000_600.0


@dataclass
class Store:
    """A store that answers what it is told, and remembers what it was asked."""

    url: str = ""
    answers: dict[str, Any] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def stores(self) -> Stores:
        """Return it in the place of all three."""
        return Stores(self.url, self.url, self.url)


@pytest.fixture
def store() -> Iterator[Store]:
    """A store on a free port."""
    told = Store()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """Answer with what was told for this path, or 400."""
            parts = urlsplit(self.path)
            told.asked.append((parts.path, {key: values[0] for key, values in parse_qs(parts.query).items()}))
            found = parts.path in told.answers
            body = json.dumps(told.answers[parts.path]).encode() if found else b"parse error at char 7"
            self.send_response(200 if found else 400)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Stay quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    told.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield told
    server.shutdown()
    thread.join()
    server.server_close()


def count(store: Store, kind: Kind, text: str) -> int:
    """Return what one query returned."""
    (outcome,) = check(store.stores(), "shop", start=START, end=END, queries=[Query("here", kind, text)])
    assert outcome.error == ""
    return outcome.count


def matrix(*values: str) -> Any:
    """Return a range result with one series."""
    return {"data": {"result": [{"metric": {}, "values": [[START, value] for value in values]}]}}


@pytest.mark.parametrize(
    ("kind", "path", "answer", "expected"),
    [
        ("promql", "/api/v1/query_range", matrix("1", "2"), 2),
        ("promql", "/api/v1/query_range", matrix("NaN", "+Inf", "0"), 1),
        ("promql", "/api/v1/query_range", {"data": {"result": []}}, 0),
        ("promql instant", "/api/v1/query", {"data": {"result": [{"value": [START, "3"]}]}}, 1),
        ("promql instant", "/api/v1/query", {"data": {"result": [{"value": [START, "NaN"]}]}}, 0),
        ("exemplars", "/api/v1/query_exemplars", {"data": [{"exemplars": [{}, {}]}, {"exemplars": [{}]}]}, 3),
        ("exemplars", "/api/v1/query_exemplars", {"data": []}, 0),
        ("logql", "/loki/api/v1/query_range", {"data": {"result": [{"values": [["1", "a"]]}]}}, 1),
        ("traceql", "/api/search", {"traces": [{}, {}]}, 2),
        ("traceql", "/api/search", {"traces": None}, 0),
        ("traceql", "/api/search", {}, 0),
    ],
)
def test_what_a_panel_could_draw_is_counted(store: Store, kind: Kind, path: str, answer: Any, expected: int) -> None:
    """Finite values, lines, traces, exemplars; a series of NaN is as empty as none."""
    store.answers[path] = answer
    assert count(store, kind, "x") == expected


def test_label_values_are_asked_by_series_and_label(store: Store) -> None:
    """As Grafana's variable editor does."""
    store.answers["/api/v1/label/http_route/values"] = {"data": ["/a", "/b"]}
    assert count(store, "label values", 'label_values(x{a="$service"}, http_route)') == 2
    ((_, asked),) = store.asked
    assert asked["match[]"] == 'x{a="shop"}'


def test_the_query_is_sent_filled_in_and_over_the_time_range(store: Store) -> None:
    """Variables and macros are gone, start and end are those of the range."""
    store.answers["/api/v1/query_range"] = matrix("1")
    count(store, "promql", 'rate(x{s="$service", e=~"$environment"}[$__rate_interval])')
    ((_, asked),) = store.asked
    assert asked["query"] == 'rate(x{s="shop", e=~".*"}[1m])'
    assert (float(asked["start"]), float(asked["end"])) == (START, END)


def test_a_data_link_is_followed_from_the_series_of_its_panel(store: Store) -> None:
    """The panel is asked first, and what it shows is clicked until a link has an answer."""
    series = [{"metric": {"http_route": route}, "values": [[START, "1"]]} for route in ("/a", "/b")]
    store.answers["/api/v1/query_range"] = {"data": {"result": series}}
    store.answers["/api/search"] = {"traces": []}
    text = '{ span.http.route = "${__field.labels.http_route}" }'
    link = Query("link", "traceql", text, clicked="sum by (http_route) (x)")
    (outcome,) = check(store.stores(), "shop", start=START, end=END, queries=[link])
    assert [asked["q"] for path, asked in store.asked if path == "/api/search"] == [
        '{ span.http.route = "/a" }',
        '{ span.http.route = "/b" }',
    ]
    assert failures([outcome], faults_injected=False) == [outcome]
    store.answers["/api/search"] = {"traces": [{}]}
    (outcome,) = check(store.stores(), "shop", start=START, end=END, queries=[link])
    assert (outcome.count, outcome.query.text) == (1, '{ span.http.route = "/a" }')


def outcomes(store: Store, needs: Needs) -> list[Any]:
    """Return the outcome of an empty query that needs something."""
    store.answers["/api/v1/query_range"] = {"data": {"result": []}}
    return check(store.stores(), "shop", start=START, end=END, queries=[Query("here", "promql", "x", needs)])


@pytest.mark.parametrize(
    ("needs", "faults", "wrong"),
    [
        ("traffic", False, True),
        ("traffic", True, True),
        ("faults", False, False),
        ("faults", True, True),
        ("event", False, False),
        ("event", True, False),
    ],
)
def test_empty_is_wrong_where_there_had_to_be_something(store: Store, needs: Needs, faults: bool, wrong: bool) -> None:
    """A panel of failures may be empty while all is well, and not once faults were injected."""
    assert bool(failures(outcomes(store, needs), faults_injected=faults)) is wrong


def test_an_error_is_wrong_whatever_was_needed_and_is_told(store: Store) -> None:
    """A query that a store refuses is never mistaken for an empty one."""
    found = check(store.stores(), "shop", start=START, end=END, queries=[Query("here", "promql", "x", "event")])
    assert failures(found, faults_injected=False) == found
    assert "HTTP 400: parse error at char 7" in report(found)


def test_a_store_that_does_not_answer_is_an_error() -> None:
    """Nobody listens on port 1."""
    nowhere = Stores(*["http://127.0.0.1:1"] * 3)
    (found,) = check(nowhere, "shop", start=START, end=END, queries=[Query("here", "traceql", "{}")])
    assert "ConnectionError" in found.error


def test_the_command_fails_when_a_query_returns_nothing(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """For a person with a running stack: one line per query, and how many are wrong."""
    addresses = ["--prometheus", store.url, "--loki", store.url, "--tempo", store.url]
    assert main(["--service", "shop", *addresses]) == 1
    said = capsys.readouterr().out.splitlines()
    assert said[-1] == f"{len(all_queries())} queries, {len(all_queries())} wrong"
