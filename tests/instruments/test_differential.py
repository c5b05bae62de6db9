"""The same traffic through upstream's pipeline and ours: what arrives differs only where `DIFFERENCES` says so."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from otel_forge.instruments.differences import DIFFERENCES, table
from tests.instruments.reconcile import RECONCILERS, reconciled
from tests.programs import clean_environ

ROOT = Path(__file__).parents[2]

DIFFERING: dict[str, tuple[str, ...]] = {
    "abort_503": ("handled-exception",),
    "app_in_an_app": ("one-server-span",),
    "bad_server_port": ("bad-environ",),
    "early_bird_aborts": ("before-request",),
    "handled_to_500": ("handled-exception",),
    "hook_raising": ("raising-hook",),
    "log_bad_arguments": ("log-bad-arguments",),
    "log_exceptions": ("log-exception",),
    "log_plain_and_formatted": ("log-template",),
    "log_suppressed_and_own": ("log-suppressed",),
    "log_with_extra": ("log-template",),
    "nested_spans": ("log-template",),
    "no_request_uri": ("url-path",),
    "not_allowed": ("name-without-route",),
    "not_found": ("name-without-route",),
    "path_not_ascii": ("url-path",),
    "propagated_exception": ("propagated-exception",),
    "redirect_to_slash": ("name-without-route",),
    "remote_parent_unsampled": ("log-template",),
    "remote_parent_with_state": ("log-template",),
    "sql_blank": ("sql-blank",),
    "sql_comments_and_empty": ("sql-buckets",),
    "sql_errors": ("sql-buckets",),
    "sql_function_that_logs": ("log-template", "sql-buckets"),
    "sql_inside_a_span": ("sql-buckets",),
    "sql_script": ("sql-shortcuts",),
    "sql_shortcuts": ("sql-shortcuts",),
    "sql_statements": ("sql-buckets",),
    "stream_broken": ("streaming",),
    "stream_whole": ("streaming",),
}
"""The cases whose results differ, and by which differences; all the others must be equal."""

SHOWN_ELSEWHERE = {
    "scope": "tests.instruments.seen takes it out of every comparison",
    "bad-pattern": "test_requests: a bad pattern of excluded URLs is left out",
    "empty-pattern": "test_variables: a comma at the end is not the pattern of everything",
    "header-bytes": "test_variables: a header of bytes is text",
    "set-by-hook": "test_variables: what a request hook sets stays",
    "variables": "test_variables: variables are read when instrumenting",
    "entry": "test_variables: no route when the span starts; test_flask: middleware is inside, samplers see the method",
    "import-order": "test_flask: an app made before instrumenting is seen",
    "peer-ip": "nothing to show: an attribute of the old conventions",
    "sql-classes": "test_sqlite3: isinstance, backup, factories",
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What arrived for each case, by pipeline."""
    folder = tmp_path_factory.mktemp("differential")
    return {pipeline: _run(pipeline, folder / f"{pipeline}.json") for pipeline in ("upstream", "lean")}


def _run(pipeline: str, path: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.instruments.traffic", pipeline, str(path)]
    done = subprocess.run(command, cwd=ROOT, env=clean_environ(), capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def test_every_case_arrives_alike_but_for_the_differences_on_purpose(results: dict[str, dict[str, Any]]) -> None:
    """Spans, metrics and logs of more than eighty cases, ids and times left out."""
    theirs, ours = results["upstream"], results["lean"]
    assert theirs.keys() == ours.keys() and len(theirs) > 80
    assert set(DIFFERING) <= set(theirs)
    wrong = {
        name: {"expected": expected, "ours": ours[name]}
        for name in theirs
        if (expected := reconciled(theirs[name], ours[name], DIFFERING.get(name, ()))) != ours[name]
    }
    assert wrong == {}


def test_no_case_is_excused_without_need(results: dict[str, dict[str, Any]]) -> None:
    """A case in `DIFFERING` really differs."""
    equal = [name for name in DIFFERING if results["upstream"][name] == results["lean"][name]]
    assert equal == []


def test_every_difference_is_shown_by_a_test() -> None:
    """Nothing stands in the list that no test shows, and no test knows an exception that is not in the list."""
    listed = {difference.name for difference in DIFFERENCES}
    used = {name for names in DIFFERING.values() for name in names}
    assert listed == used | set(SHOWN_ELSEWHERE)
    assert used == set(RECONCILERS)


def test_the_table_has_a_row_for_each_difference() -> None:
    """The docs print it."""
    assert len(table()) == len(DIFFERENCES) and all(all(row) for row in table())
