"""The examples of docs/health.md run, and what it says of settings and answers is so."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from otel_forge import health
from otel_forge.health import checks as registered
from otel_forge.health import reporting
from otel_forge.health.results import WARN
from otel_forge.variables import VARIABLES
from tests.health.build import wait_for

PAGE = (Path(__file__).parents[2] / "docs/health.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """Return the fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """What the program that the examples are has defined."""
    monkeypatch.delenv("MESHY_API_KEY", raising=False)
    found: dict[str, Any] = {"__name__": "examples"}
    for block in blocks("python"):
        exec(compile(block, "docs/health.md", "exec"), found)
    yield found
    for name in registered.checks.known():
        health.remove(name)
    registered.checks.stop()


def test_the_examples_are_a_program_that_runs(names: dict[str, Any]) -> None:
    """And its report is the one on the page: the image server is not there, nor is the key."""
    client = names["app"].test_client()
    client.get("/live")
    wait_for(lambda: all(known.status for _, known in registered.checks.known().values()))
    told: Any = client.get("/api/health").json
    [shown] = map(json.loads, blocks("json"))
    assert list(told) == list(shown) and list(told["memory"]) == list(shown["memory"])
    assert told["services"].items() >= shown["services"].items() and told["status"] == shown["status"]
    assert registered.checks.known()["queue"][1].status == WARN
    assert not registered.checks.known()["telemetry"][0].required


def test_every_setting_and_metric_is_one_that_there_is() -> None:
    """The names in the page are in the tables."""
    named = set(re.findall(r"\b(OTEL_FORGE_HEALTH_[A-Z]+)\b", PAGE))
    assert named == {variable.name for variable in VARIABLES if variable.name.startswith("OTEL_FORGE_HEALTH_")}
    metrics = {reporting.CHECK_STATUS, reporting.CHECK_DURATION, reporting.STATUS, reporting.READY, reporting.PROBES}
    assert set(re.findall(r"`(otel_forge\.health\.[a-z.]+)`(?: \{| \|)", PAGE)) == metrics


def test_every_check_that_there_is_is_on_the_page() -> None:
    """By the name that it is called with."""
    built_in = {"sqlalchemy", "http", "redis", "configured", "disk", "memory", "file_descriptors", "telemetry"}
    assert set(re.findall(r"^\| `health\.(\w+)\(", PAGE, re.MULTILINE)) == built_in
