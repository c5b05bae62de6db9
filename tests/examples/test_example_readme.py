"""The example's README and target file say what is so."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import yaml
from asset_forge.demo.__main__ import parser as demo_parser
from asset_forge.faults import Faults
from asset_forge.settings import ApiSettings
from asset_forge.traffic.__main__ import parser as traffic_parser
from flask import Flask

from otel_forge.health.paths import PROBES
from tests.examples.conftest import EXAMPLE

README = (EXAMPLE / "README.md").read_text(encoding="utf-8")


def commands(module: str) -> Iterator[list[str]]:
    """Yield the arguments of each command of a module that the README shows as a line of its own."""
    for line in re.findall(rf"^    python -m {re.escape(module)} (.+)$", README, re.MULTILINE):
        yield line.split("#")[0].split()


def test_every_command_is_one_that_there_is() -> None:
    """The command lines parse."""
    demo = [demo_parser({}).parse_args(given).verb for given in commands("asset_forge.demo")]
    assert demo == ["start", "status", "stop"]
    traffic = [traffic_parser().parse_args(given).target for given in commands("asset_forge.traffic")]
    assert traffic == ["asset-forge", "httpbin"]


def test_every_option_of_the_demo_is_in_the_table() -> None:
    """No option is missing from the table of options, and none is made up."""
    table = README[README.index("| option of") : README.index("Logs, the database")]
    usage = demo_parser({})._subparsers
    assert usage is not None
    start: Any = next(iter(usage._group_actions)).choices["run"]  # type: ignore[index]
    there = {option for action in start._actions for option in action.option_strings if option.startswith("--")}
    not_shown = {"--help", "--fault-phases", "--ledger"}
    shown = set(re.findall(r"--[a-z-]+", "".join(row.split("|")[1] for row in table.splitlines() if "`" in row)))
    assert shown == there - not_shown


def test_every_fault_can_be_set() -> None:
    """The bodies of the curl commands are faults."""
    bodies = re.findall(r"--json '([^']+)'", README)
    assert len(bodies) == 4
    assert all(Faults.from_json(json.loads(body)) != Faults() for body in bodies)


def test_every_setting_and_route_is_one_that_there_is(api: Flask) -> None:
    """The defaults in the settings table are those of the code, and the paths have routes."""
    defaults = ApiSettings.from_env({})
    for value in (
        defaults.port,
        defaults.host,
        defaults.image_server_url,
        defaults.ai_upstream_url,
        defaults.rate_limit,
    ):
        assert str(value) in README
    paths = set(re.findall(r"`(?:GET|POST) (/[^`?]*)", README))
    rules = {str(rule.rule).replace("int:", "") for rule in api.url_map.iter_rules()}
    assert {"/live", "/ready", "/startup", "/api/health"} == PROBES
    assert paths - {"/api/assets/<int:id>/thumbnail"} <= rules | PROBES


def test_the_scrape_targets_are_a_master_and_four_workers() -> None:
    """The file is a list of target groups as Prometheus reads them, all on this machine."""
    (group,) = yaml.safe_load((EXAMPLE / "prometheus-scrape.yaml").read_text(encoding="utf-8"))
    assert group["targets"] == [f"127.0.0.1:{port}" for port in range(9464, 9469)]
    assert group["labels"]["job"] == "asset-forge-api"
