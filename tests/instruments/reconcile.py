"""How what upstream sends has to be changed to become what the lean instruments send: one function for a difference.

Each takes what was seen of a case through upstream and through ours, and returns upstream's with this one
difference undone, as far as it can be told from the rest.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

from otel_forge.instruments.statements import DURATION_BOUNDARIES, ROWS_BOUNDARIES
from tests.instruments.seen import in_order

Seen = dict[str, Any]
SERVER = 2


def _servers(seen: Seen) -> list[Seen]:
    return [span for span in seen["spans"] if span["scope"] == "flask"]


def name_without_route(theirs: Seen, ours: Seen) -> None:
    """Name requests without a route by their method, also where other spans name them as their parent."""
    for span in _servers(theirs):
        if "http.route" not in span["attributes"]:
            span["name"] = span["attributes"]["http.request.method"]


def handled_exception(theirs: Seen, ours: Seen) -> None:
    """Add the event, which must be there in ours, and say what it should."""
    for span, other in zip(_servers(theirs), _servers(ours), strict=True):
        if not span["events"]:
            [[name, attributes]] = other["events"]
            assert name == "exception" and set(attributes) == {
                "exception.type",
                "exception.message",
                "exception.stacktrace",
                "exception.escaped",
            }
            span["events"] = other["events"]


def streaming(theirs: Seen, ours: Seen) -> None:
    """Put what happens in the stream below the span; let a broken stream be an error."""
    [server] = _servers(theirs)
    for span in theirs["spans"]:
        if span["name"] == "in the stream":
            assert span["parent"] == "none"
            span["parent"] = server["name"]
    [own] = _servers(ours)
    if own["events"]:
        assert server["status"] == [0, ""] and not server["events"]
        server["status"] = [2, "ConnectionError: mid-stream"]
        server["events"] = own["events"]
        assert own["events"][0][1]["exception.type"] == "ConnectionError"
        server["attributes"]["error.type"] = "ConnectionError"
        _duration(theirs)["points"][0]["attributes"]["error.type"] = "ConnectionError"


def _duration(seen: Seen) -> Seen:
    [metric] = [metric for metric in seen["metrics"] if metric["name"] == "http.server.request.duration"]
    found: Seen = metric
    return found


def one_server_span(theirs: Seen, ours: Seen) -> None:
    """Take away the span and the measurement of the inner app."""
    theirs["spans"] = [span for span in theirs["spans"] if span["parent"] == "none"]
    outer = theirs["spans"][0]["attributes"]["http.route"]
    metric = _duration(theirs)
    metric["points"] = [point for point in metric["points"] if point["attributes"]["http.route"] == outer]


def propagated_exception(theirs: Seen, ours: Seen) -> None:
    """Add error.type and the measurement."""
    [server] = _servers(theirs)
    assert "error.type" not in server["attributes"]
    server["attributes"]["error.type"] = "ValueError"
    [point] = _duration(ours)["points"]
    assert point["attributes"] == {
        "error.type": "ValueError",
        "http.request.method": "GET",
        "http.route": "/fails",
        "network.protocol.version": "1.1",
        "url.scheme": "http",
    }
    theirs["metrics"].append(_duration(ours))


def url_path(theirs: Seen, ours: Seen) -> None:
    """Set path and query, readable."""
    [server] = _servers(theirs)
    attributes = server["attributes"]
    if "url.path" in attributes:
        attributes["url.path"] = attributes["url.path"].encode("latin-1").decode()
    else:
        attributes |= {"url.path": "/hello/you", "url.query": "a=1"}


def log_template(theirs: Seen, ours: Seen) -> None:
    """Add the template, which formatted with something gives the body."""
    templates = {json.dumps(record["body"]): record["attributes"].get("log.record.template") for record in ours["logs"]}
    for record in theirs["logs"]:
        template = templates.get(json.dumps(record["body"]))
        if template is not None:
            assert "%" in template and template != record["body"]
            record["attributes"]["log.record.template"] = template


def log_exception(theirs: Seen, ours: Seen) -> None:
    """Use the full name of the exception's class and its text."""
    full = {"HandledError": ("tests.instruments.cases.HandledError", "('outer', 2)")}
    for record in theirs["logs"]:
        attributes = record["attributes"]
        if attributes.get("exception.type") in full:
            attributes["exception.type"], attributes["exception.message"] = full[attributes["exception.type"]]


def log_suppressed(theirs: Seen, ours: Seen) -> None:
    """Leave out what was logged while suppressed."""
    theirs["logs"] = [record for record in theirs["logs"] if record["body"] != "suppressed"]


def log_bad_arguments(theirs: Seen, ours: Seen) -> None:
    """Let the template be the body instead of raising."""
    assert theirs["raised"].startswith("TypeError") and not theirs["logs"]
    theirs["raised"] = ""
    [record] = ours["logs"]
    assert record["body"] == record["attributes"]["log.record.template"] == "%d"
    theirs["logs"] = ours["logs"]


def sql_buckets(theirs: Seen, ours: Seen) -> None:
    """Use the buckets that the conventions advise."""
    bounds = {
        "db.client.operation.duration": list(map(float, DURATION_BOUNDARIES)),
        "db.client.response.returned_rows": list(map(float, ROWS_BOUNDARIES)),
    }
    for metric in theirs["metrics"]:
        for point in metric["points"]:
            if metric["name"] in bounds:
                point["bounds"] = bounds[metric["name"]]


def sql_shortcuts(theirs: Seen, ours: Seen) -> None:
    """Add the spans and measurements that upstream does not make."""
    assert not theirs["spans"] and ours["spans"]
    assert {span["scope"] for span in ours["spans"]} == {"sqlite3"}
    theirs["spans"] = ours["spans"]
    theirs["metrics"] += [metric for metric in ours["metrics"] if metric["name"].startswith("db.")]


def instead_of_breaking(theirs: Seen, ours: Seen) -> None:
    """Upstream breaks the request or leaves it out, so there is nothing to compare: ours must be whole."""
    assert theirs != ours
    [server] = _servers(ours)
    assert server["kind"] == SERVER and server["attributes"]["http.response.status_code"] in (200, 401)
    assert ours["raised"] == "" and server["status"] == [0, ""]
    theirs.clear()
    theirs.update(copy.deepcopy(ours))


def sql_blank(theirs: Seen, ours: Seen) -> None:
    """Let the statement run: nothing is raised, and there is a span."""
    assert theirs["raised"].startswith("IndexError")
    [span] = ours["spans"]
    assert span["name"] == "sqlite" and span["attributes"] == {"db.system.name": "sqlite", "db.query.text": "  "}
    theirs.clear()
    theirs.update(copy.deepcopy(ours))
    theirs["raised"] = ""


RECONCILERS: dict[str, Callable[[Seen, Seen], None]] = {
    "name-without-route": name_without_route,
    "handled-exception": handled_exception,
    "streaming": streaming,
    "one-server-span": one_server_span,
    "propagated-exception": propagated_exception,
    "raising-hook": instead_of_breaking,
    "before-request": instead_of_breaking,
    "bad-environ": instead_of_breaking,
    "url-path": url_path,
    "log-template": log_template,
    "log-exception": log_exception,
    "log-suppressed": log_suppressed,
    "log-bad-arguments": log_bad_arguments,
    "sql-buckets": sql_buckets,
    "sql-shortcuts": sql_shortcuts,
    "sql-blank": sql_blank,
}


def reconciled(theirs: Seen, ours: Seen, names: tuple[str, ...]) -> Seen:
    """Return what upstream sent with the differences `names` undone."""
    changed = copy.deepcopy(theirs)
    for name in names:
        RECONCILERS[name](changed, ours)
    for part in ("spans", "metrics", "logs"):
        changed[part] = in_order(changed[part])
    return changed
