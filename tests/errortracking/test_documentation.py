"""The examples of docs/errors.md run, and what it says of settings and answers is so."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from otel_forge.variables import VARIABLES
from otel_forge.web.boundary import PROBLEM_JSON
from tests.errortracking.conftest import pinned

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/errors.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """Return the fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def test_the_examples_are_a_program_that_runs(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And it does what the page says."""
    monkeypatch.setattr("otel_forge.errortracking.events._filters", [])
    names: dict[str, Any] = {"__name__": "examples"}
    for block in blocks("python"):
        exec(compile(block, "docs/errors.md", "exec"), names)
    [captured] = [record for record in caplog.records if record.name == "AssetService"]
    assert captured.getMessage().startswith("FileNotFoundError: ")
    assert names["parse"]("a b") == ["a", "b"]
    assert names["without_robots"]({"request": {"headers": {"User-Agent": "a bot"}}}, {}) is None
    answer = names["app"].test_client().get("/broken")
    [shown] = map(json.loads, blocks("json"))
    assert answer.mimetype == PROBLEM_JSON
    assert {**answer.json, "incident_id": ""} == {**shown, "incident_id": ""}
    names["shop"].add_url_rule("/broken", view_func=names["broken"])
    page = names["shop"].test_client().get("/broken", headers={"Accept": "text/html"})
    assert (page.status_code, page.text[:14]) == (500, "<h1>Sorry</h1>")


def test_every_setting_is_one_that_there_is() -> None:
    """The names in the page are in the table of settings."""
    known = {variable.name for variable in VARIABLES}
    named = set(re.findall(r"\b((?:OTEL|SENTRY|APP|FLASK)_[A-Z_]+)\b", PAGE))
    assert len(named) > 10
    assert named <= known


def test_the_versions_are_those_that_the_tests_run_with() -> None:
    """The newest and the oldest sentry-sdk."""
    assert f"sentry-sdk {pinned('sentry-newest')} and {pinned('sentry-oldest')}" in PAGE


def test_the_sampling_configuration_keeps_what_the_page_says() -> None:
    """Errors, a second and more, one in ten."""
    config = yaml.safe_load((ROOT / "collector/config-sampling.yaml").read_text())
    policies = {policy["type"]: policy for policy in config["processors"]["tail_sampling"]["policies"]}
    assert policies["status_code"]["status_code"]["status_codes"] == ["ERROR"]
    assert policies["latency"]["latency"]["threshold_ms"] == 1000
    assert policies["probabilistic"]["probabilistic"]["sampling_percentage"] == 10
