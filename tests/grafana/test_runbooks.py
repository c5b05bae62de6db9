"""Runbooks hold what the person on call needs, and commands that can be typed."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from urllib.parse import urlsplit

import promql_parser
import pytest

from grafana.src.alerts import ALERTS, RUNBOOKS, Alert
from grafana.src.live import Stores
from grafana.src.render import ROOT

SECTIONS = [
    "Meaning",
    "Impact",
    "First three commands",
    "Diagnosis",
    "Mitigation",
    "Verification",
    "Escalation",
]
TITLES = [alert.name for alert in ALERTS]
VERBS = {"up", "down", "status", "logs", "restart"}
COMPONENTS = {"collector", "prometheus", "loki", "tempo", "alertmanager", "grafana"}
STORES = Stores()
ADDRESSES = {
    STORES.prometheus,
    STORES.loki,
    STORES.tempo,
    "http://127.0.0.1:9093",
    "http://127.0.0.1:13133",
}
FENCE = re.compile(r"```sh\n(.*?)```", re.DOTALL)
INLINE = re.compile(r"`((?:otel-forge|curl) [^`]+)`")
LINK = re.compile(r"\]\(([^)]+)\)")


def text(alert: Alert) -> str:
    """Return the runbook of an alert."""
    return (ROOT / alert.runbook_path).read_text(encoding="utf-8")


def section(alert: Alert, name: str) -> str:
    """Return the text below one heading."""
    after = text(alert).split(f"\n## {name}\n", 1)[1]
    return after.split("\n## ", 1)[0]


def commands(written: str) -> list[list[str]]:
    """Return every command in a text as the shell would split it."""
    lines = [line for block in FENCE.findall(written) for line in block.strip().splitlines()]
    return [shlex.split(line) for line in [*lines, *INLINE.findall(written)]]


def queries(alert: Alert, store: str) -> list[str]:
    """Return the queries that a runbook sends to one store."""
    asked = [command for command in commands(text(alert)) if any(part.startswith(store) for part in command)]
    return [part.split("=", 1)[1] for command in asked for part in command if part.startswith(("query=", "q="))]


@pytest.mark.parametrize("alert", ALERTS, ids=TITLES)
def test_a_runbook_has_every_section_in_order(alert: Alert) -> None:
    """The same places in every runbook, and none of them empty."""
    assert re.findall(r"^## (.+)$", text(alert), re.MULTILINE) == SECTIONS
    assert all(len(section(alert, name).strip()) > 40 for name in SECTIONS)


@pytest.mark.parametrize("alert", ALERTS, ids=TITLES)
def test_a_runbook_is_about_its_alert(alert: Alert) -> None:
    """The title is the alert's name, and the severity is that of the table."""
    lines = text(alert).splitlines()
    assert lines[0] == f"# {alert.name}"
    assert lines[2].startswith(f"Severity: **{alert.severity}**.")


@pytest.mark.parametrize("alert", ALERTS, ids=TITLES)
def test_the_first_three_commands_are_three(alert: Alert) -> None:
    """Three commands to copy, each with a word before it about what it tells."""
    assert len(FENCE.findall(section(alert, "First three commands"))) == 3


@pytest.mark.parametrize("alert", ALERTS, ids=TITLES)
def test_every_command_can_be_typed(alert: Alert) -> None:
    """Programs, verbs, components and addresses are those of the stack."""
    for command in commands(text(alert)):
        if command[0] == "otel-forge":
            assert command[1] in VERBS, command
            assert set(command[2:]) <= COMPONENTS, command
        else:
            assert command[0] == "curl", command
            (url,) = [part for part in command if part.startswith("http")]
            parts = urlsplit(url)
            assert f"{parts.scheme}://{parts.netloc}" in ADDRESSES, command


@pytest.mark.parametrize("alert", ALERTS, ids=TITLES)
def test_every_promql_query_can_be_parsed(alert: Alert) -> None:
    """What is copied at 3 a.m. has no typing mistake."""
    asked = queries(alert, STORES.prometheus)
    assert asked
    for query in asked:
        promql_parser.parse(query)


@pytest.mark.parametrize("alert", ALERTS, ids=TITLES)
def test_every_link_to_another_page_resolves(alert: Alert) -> None:
    """A link leads to a file of the repository."""
    for target in LINK.findall(text(alert)):
        assert (ROOT / RUNBOOKS / target).is_file(), target


def test_commands_are_found_in_blocks_and_in_lines() -> None:
    """The check above has something to check."""
    assert commands("a `curl -i http://x/` b\n```sh\notel-forge status\n```\n") == [
        ["otel-forge", "status"],
        ["curl", "-i", "http://x/"],
    ]


def test_the_folder_is_the_one_that_alerts_name(repository: Path) -> None:
    """The path in `runbook_url` is a path of the repository, and of the installed bundle."""
    assert (repository / RUNBOOKS).is_dir()
