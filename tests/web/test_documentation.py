"""docs/request-log.md and docs/rate-limits.md: their examples run, and show what the app does."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from otel_forge.logs.describe import Describer
from otel_forge.logs.json_view import JsonView
from otel_forge.variables import VARIABLES
from otel_forge.web.limit_answers import STATUS
from tests.web.conftest import Events

DOCS = Path(__file__).parents[2] / "docs"
REQUEST_LOG, RATE_LIMITS = "request-log.md", "rate-limits.md"
CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"


def blocks(page: str, language: str) -> list[str]:
    """Return the fenced blocks of one language."""
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def run(page: str) -> dict[str, Any]:
    """Run the examples of a page as one program; return its names."""
    names: dict[str, Any] = {"__name__": "examples"}
    for block in blocks(page, "python"):
        exec(compile(block, page, "exec"), names)
    return names


def test_the_request_log_writes_what_the_page_shows(events: Events) -> None:
    """Apart from the times."""
    names = run(REQUEST_LOG)
    base = {"REMOTE_ADDR": "203.0.113.77"}
    names["app"].test_client().get("/assets/7?token=x", environ_base=base, headers={"User-Agent": CHROME})
    written = json.loads(JsonView(Describer("shop")).line(events.records[0]))
    shown = json.loads(blocks(REQUEST_LOG, "json")[0])
    for record in (written, shown):
        record["timestamp"] = ""
        record["message"] = record["message"].rsplit(" ", 2)[0]
        record["data"]["http.server.request.duration"] = 0
    assert written == shown
    names["inside"].test_client().get("/")
    assert events.messages[1] == "GET (no route) started"
    assert events.last["client.address"] == "127.0.0.1"


def test_the_limits_answer_as_the_page_shows(warnings_of_limits: Events) -> None:
    """Apart from the seconds."""
    names = run(RATE_LIMITS)
    client = names["app"].test_client()
    answers = [client.get("/assets") for _ in range(101)]
    assert [answer.status_code for answer in answers] == [200] * 100 + [STATUS]
    refusal = answers[-1]
    [problem], [headers] = blocks(RATE_LIMITS, "json"), blocks(RATE_LIMITS, "http")
    seconds = refusal.headers["Retry-After"]
    assert refusal.json == json.loads(problem.replace(" 42 ", f" {seconds} "))
    for line in headers.replace("=42", f"={seconds}").replace(" 42", f" {seconds}").splitlines():
        name, _, value = line.partition(": ")
        assert refusal.headers[name] == value
    other = names["other"].test_client()
    assert [other.get("/").status_code for _ in range(2)] == [200, STATUS]


@pytest.mark.parametrize("page", [REQUEST_LOG, RATE_LIMITS])
def test_every_setting_is_one_that_there_is(page: str) -> None:
    """The names in the page are in the table of settings."""
    named = set(re.findall(r"\b(OTEL_FORGE_[A-Z_]+[A-Z])\b", (DOCS / page).read_text(encoding="utf-8")))
    assert named and named <= {variable.name for variable in VARIABLES}
