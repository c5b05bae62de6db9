"""W3C Trace Context through a served app and its outgoing request: as recommended, and the same in both pipelines."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.equivalence.services import PIPELINES
from tests.equivalence.trace_context import CLIENT, SERVER
from tests.equivalence.trace_context_cases import CASES, PARENT, TRACE, Case
from tests.programs import clean_environ

ROOT = Path(__file__).parents[2]
_TRACEPARENT = re.compile("00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})").fullmatch
Results = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """What went out and was recorded in each case, by pipeline."""
    folder = tmp_path_factory.mktemp("trace-context")
    with ThreadPoolExecutor(len(PIPELINES)) as pool:
        found = pool.map(lambda pipeline: _run(pipeline, folder / pipeline), PIPELINES)
    return dict(zip(PIPELINES, found, strict=True))


def _run(pipeline: str, path: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.equivalence.trace_context", pipeline, str(path)]
    done = subprocess.run(command, cwd=ROOT, env=clean_environ(), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, Any] = json.loads(path.read_text())
    return found


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_the_trace_goes_on_as_recommended(results: Results, pipeline: str) -> None:
    """What goes out has the trace id, flags and state that it should, and a parent of our own."""
    wrong = {
        case.name: found for case in CASES if not _goes_out_as_recommended(case, found := results[pipeline][case.name])
    }
    assert wrong == {}


def _goes_out_as_recommended(case: Case, found: dict[str, Any]) -> bool:
    [traceparent] = found["traceparent"]
    parts = _TRACEPARENT(traceparent)
    if parts is None:
        return False
    trace, span, flags = parts.groups()
    return (
        (trace == TRACE) == case.continues
        and bool(int(trace, 16) and int(span, 16))
        and span != PARENT
        and flags == case.flags
        and ",".join(found["tracestate"]) == ("" if case.departs else case.state)
    )


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_the_spans_are_where_the_headers_say(results: Results, pipeline: str) -> None:
    """A server span below the remote parent, or a root, and below it the client span whose id goes out."""
    wrong = {case.name: found for case in CASES if not _is_recorded(case, found := results[pipeline][case.name])}
    assert wrong == {}


def _is_recorded(case: Case, found: dict[str, Any]) -> bool:
    if not int(case.flags, 16) & 1:
        return not found["spans"]
    server, client = found["spans"]
    return bool(
        (server["kind"], client["kind"]) == (SERVER, CLIENT)
        and (server["trace"] == TRACE) == case.continues
        and server["parent"] == (PARENT if case.continues else "")
        and (client["trace"], client["parent"]) == (server["trace"], server["span"])
        and found["traceparent"] == [f"00-{client['trace']}-{client['span']}-{case.flags}"]
        and server["state"] == client["state"] == ",".join(found["tracestate"])
    )


def test_both_pipelines_agree(results: Results) -> None:
    """On what goes out and what is recorded, ids of their own left out."""
    shown = {
        pipeline: {name: _without_ids(found) for name, found in results[pipeline].items()} for pipeline in PIPELINES
    }
    assert shown["lean"] == shown["upstream"]
    assert len(shown["lean"]) == len(CASES)


def _without_ids(found: dict[str, Any]) -> str:
    """Return `found` with every id replaced that was not in the incoming headers."""
    ids = {TRACE: TRACE, PARENT: PARENT, "": ""}
    return re.sub(
        r"[0-9a-f]{32}|(?<![0-9a-f])[0-9a-f]{16}(?![0-9a-f])",
        lambda match: ids.setdefault(match.group(), f"id {len(ids)}"),
        json.dumps(found),
    )
