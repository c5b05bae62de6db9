"""How what upstream's services send has to be changed to become what ours send: one function for a difference.

Each takes what arrived of a scene through upstream and through ours, changes upstream's and returns how often.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

from otel_forge.instruments.statements import DURATION_BOUNDARIES, ROWS_BOUNDARIES
from tests.equivalence.arrivals import APART, Arrivals, sorted_arrivals

SERVER = 2
Item = dict[str, Any]


def _pairs(theirs: Arrivals, ours: Arrivals, part: str, *of: str) -> Iterator[tuple[Item, Item]]:
    """Yield the spans or logs of each request that stand for the same thing, told by their facts `of`."""
    for key, found in theirs["requests"].items():
        for item in found[part]:
            equal = [other for other in ours["requests"][key][part] if all(other[name] == item[name] for name in of)]
            yield from ((item, other) for other in equal)


def name_without_route(theirs: Arrivals, ours: Arrivals) -> int:
    """Name requests without a route by their method, also where logs name them."""
    renamed = 0
    for found in theirs["requests"].values():
        for span in found["spans"]:
            attributes = span["attributes"]
            if span["kind"] == SERVER and "http.route" not in attributes:
                raw, span["name"] = span["name"], attributes["http.request.method"]
                assert raw == f"{span['name']} {attributes['url.path']}"
                for record in found["logs"]:
                    record["span"] = [span["name"] if name == raw else name for name in record["span"]]
                renamed += 1
    return renamed


def streaming(theirs: Arrivals, ours: Arrivals) -> int:
    """Put the spans that began traces of their own while a body was streamed below the span of its request.

    Those of a request that is not sampled are recorded by upstream only.
    """
    apart = theirs["requests"][APART]["spans"]
    moved = []
    for key, found in ours["requests"].items():
        of_theirs = theirs["requests"][key]["spans"]
        for span in found["spans"] if key != APART else []:
            lonely = {**span, "parent": ["root"], "trace_state": ""}
            if lonely in apart and of_theirs.count(span) < found["spans"].count(span):
                apart.remove(lonely)
                of_theirs.append(span)
                moved.append(lonely)
    theirs["requests"][APART]["spans"] = [span for span in apart if span not in moved]
    return len(moved)


def log_template(theirs: Arrivals, ours: Arrivals) -> int:
    """Add the template, which is not the message."""
    added = 0
    for record, other in _pairs(theirs, ours, "logs", "body", "service"):
        template = other["attributes"].get("log.record.template")
        if template is not None:
            assert "%" in template and template != record["body"]
            record["attributes"]["log.record.template"] = template
            added += 1
    return added


def log_exception(theirs: Arrivals, ours: Arrivals) -> int:
    """Use the full name of the exception's class, of which upstream's is the last part."""
    changed = 0
    for record, other in _pairs(theirs, ours, "logs", "body", "service"):
        name = other["attributes"].get("exception.type", "")
        if "." in name and name.endswith("." + record["attributes"]["exception.type"]):
            record["attributes"]["exception.type"] = name
            changed += 1
    return changed


def sql_buckets(theirs: Arrivals, ours: Arrivals) -> int:
    """Use the advised buckets; counts and sums stay as they are."""
    advised = {
        "db.client.operation.duration": DURATION_BOUNDARIES,
        "db.client.response.returned_rows": ROWS_BOUNDARIES,
    }
    metrics = [metric for metric in theirs["metrics"] if metric["name"] in advised]
    for metric in metrics:
        for point in metric["points"]:
            assert point["bounds"][:2] == [0, 5]
            point["bounds"] = list(advised[metric["name"]])
    return len(metrics)


UNDONE: dict[str, Callable[[Arrivals, Arrivals], int]] = {
    "name-without-route": name_without_route,
    "log-template": log_template,
    "log-exception": log_exception,
    "sql-buckets": sql_buckets,
    "streaming": streaming,
}


def undone(theirs: Arrivals, ours: Arrivals) -> tuple[Arrivals, set[str]]:
    """Return what arrived through upstream with all differences on purpose undone, and those that there were."""
    changed = copy.deepcopy(theirs)
    found = {name for name, undo in UNDONE.items() if undo(changed, ours)}
    return sorted_arrivals(changed), found
