"""Every variable and option of upstream's instrumentations, through both pipelines: what arrives is the same."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.instruments.reconcile import Seen, name_without_route
from tests.instruments.variables import SCENES
from tests.programs import clean_environ

ROOT = Path(__file__).parents[2]

DIFFERING = {
    "client_header_of_bytes",
    "ended_by_the_application",
    "server_attributes_set_by_the_hook",
    "server_excluded_with_comma_at_the_end",
    "server_headers_sanitized_with_comma_at_the_end",
    "server_set_late",
    "shown_to_a_processor",
}
"""Scenes with a test of their own below."""

NAMELESS = {"server_all_methods", "server_all_methods_false"}
"""Scenes with a request that has no route, whose span we name by its method (the difference `name-without-route`)."""

WITHOUT_EFFECT = {
    "client_excluded_own_empty",
    "log_code_odd",
    "log_format_without_correlation",
    "log_handler_level_number",
    "log_handler_level_unknown",
    "server_excluded_by_empty_option",
    "server_excluded_in_capitals",
    "server_excluded_own_empty",
    "server_hooks_that_are_none",
}
"""Settings that upstream, too, takes as if they were not there."""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What was seen of each scene, by pipeline."""
    folder = tmp_path_factory.mktemp("variables")
    return {pipeline: _run(pipeline, folder / f"{pipeline}.json") for pipeline in ("upstream", "lean")}


def _run(pipeline: str, path: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.instruments.variables", pipeline, str(path)]
    done = subprocess.run(command, cwd=ROOT, env=clean_environ(), capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, Any] = json.loads(path.read_text())
    return found


@pytest.mark.parametrize("scene", sorted(SCENES.keys() - DIFFERING))
def test_a_setting_means_the_same(results: dict[str, dict[str, Any]], scene: str) -> None:
    """Spans, metrics, logs, and what hooks and views have seen; ids and times left out."""
    theirs, ours = copy.deepcopy(results["upstream"][scene]), results["lean"][scene]
    assert theirs is not None
    if scene in NAMELESS:
        name_without_route(theirs, ours)
    assert ours == theirs


def test_a_setting_has_an_effect(results: dict[str, dict[str, Any]]) -> None:
    """Else its scene would prove nothing: something arrives that does not arrive with no setting at all."""
    seen = results["upstream"]
    plain = {SCENES[name].run: seen[name] for name in SCENES if not (SCENES[name].environ or SCENES[name].options)}
    told = {name for name, scene in SCENES.items() if scene.environ or scene.options} - DIFFERING
    assert {name for name in told if seen[name] == plain.get(SCENES[name].run)} == WITHOUT_EFFECT


def servers(seen: Seen) -> list[Seen]:
    """Return the spans of the Flask instrumentation."""
    return [span for span in seen["spans"] if span["scope"] == "flask"]


def test_a_comma_at_the_end_is_not_the_pattern_of_everything(results: dict[str, dict[str, Any]]) -> None:
    """The difference `empty-pattern`: upstream excludes all URLs then, and hides all captured headers."""
    ours = results["lean"]
    assert not servers(results["upstream"]["server_excluded_with_comma_at_the_end"])
    assert ours["server_excluded_with_comma_at_the_end"] == ours["server_excluded_own"]
    assert ours["server_headers_sanitized_with_comma_at_the_end"] == ours["server_headers_sanitized"]


def test_variables_are_read_when_instrumenting(results: dict[str, dict[str, Any]]) -> None:
    """The difference `variables`: upstream reads some of them at every request."""
    late = {pipeline: servers(results[pipeline]["server_set_late"])[0] for pipeline in results}
    assert late["upstream"]["name"] == "BREW /hello/<name>" and late["lean"]["name"] == "HTTP /hello/<name>"
    headers = {
        key for pipeline in late for key in late[pipeline]["attributes"] if key.startswith("http.request.header")
    }
    assert headers == {"http.request.header.x_captured"}
    assert not headers & late["lean"]["attributes"].keys()


def test_what_a_request_hook_sets_stays(results: dict[str, dict[str, Any]]) -> None:
    """The difference `set-by-hook`."""
    addresses = {
        pipeline: {span["attributes"]["server.address"] for span in servers(seen["server_attributes_set_by_the_hook"])}
        for pipeline, seen in results.items()
    }
    assert addresses == {"upstream": {"localhost"}, "lean": {"by the hook"}}


def test_a_header_of_bytes_is_text(results: dict[str, dict[str, Any]]) -> None:
    """The difference `header-bytes`."""
    captured = {
        pipeline: seen["client_header_of_bytes"]["spans"][0]["attributes"]["http.request.header.x_captured"]
        for pipeline, seen in results.items()
    }
    assert captured == {"upstream": list(b"seen"), "lean": ["seen"]}


def test_a_processor_sees_all_but_the_route_when_the_span_starts(results: dict[str, dict[str, Any]]) -> None:
    """The difference `entry`: the route is not known yet. In the view and at the end it is."""
    theirs, ours = (copy.deepcopy(results[pipeline]["shown_to_a_processor"]) for pipeline in ("upstream", "lean"))
    told = [note[1] for note in theirs["notes"] if isinstance(note, list) and note[0] == "start"]
    starts = [attributes for attributes in told if "http.request.method" in attributes]
    assert [start.pop("http.route") for start in starts] == ["/shown/<int:code>", "/hello/<name>"]
    assert ours == theirs


def test_a_span_that_the_application_ends_has_what_was_known(results: dict[str, dict[str, Any]]) -> None:
    """All but the name, which we give when the response begins (the difference `entry`)."""
    theirs, ours = (copy.deepcopy(results[pipeline]["ended_by_the_application"]) for pipeline in ("upstream", "lean"))
    assert [record["body"] for record in theirs["logs"]] == ["Calling end() on an ended span."]
    theirs["logs"] = []
    assert servers(theirs)[0]["name"] == "GET /ended" and servers(ours)[0]["name"] == "GET"
    servers(theirs)[0]["name"] = "GET"
    assert ours == theirs
