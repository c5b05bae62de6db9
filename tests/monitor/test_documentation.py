"""docs/watch.md: its settings, defaults and options are those that there are, its unit file has systemd's form."""

from __future__ import annotations

import configparser
import re
import shlex
from pathlib import Path

from otel_forge.cli.watch import watch
from otel_forge.health import heartbeat
from otel_forge.monitor import measuring, reporting
from otel_forge.variables import VARIABLES

PAGE = (Path(__file__).parents[2] / "docs/watch.md").read_text()


def test_every_setting_is_one_that_there_is_and_all_are_named() -> None:
    """Those of watch."""
    known = {variable.name for variable in VARIABLES if variable.name.startswith("OTEL_FORGE_WATCH_")}
    short = {f"OTEL_FORGE_WATCH{name}" for name in re.findall(r"`(_[A-Z_]+)`", PAGE)}
    named = set(re.findall(r"\b(OTEL_FORGE_WATCH_[A-Z_]+)\b", PAGE)) | short
    assert named == known


def test_every_option_is_one_that_there_is_and_all_are_named() -> None:
    """By the name that the help shows."""
    known = {option for param in watch.params for option in param.opts if option.startswith("--")}
    own_lines = "\n".join(line for line in PAGE.splitlines() if "gunicorn --" not in line and "`--init`" not in line)
    named = set(re.findall(r"(?<![\w-])(--[a-z][a-z-]+)", own_lines)) - {"--workers", "--bind", "--no-telemetry"}
    assert named == known


def test_the_defaults_in_the_table_are_the_settings_defaults() -> None:
    """Number by number."""
    defaults = {variable.name: variable for variable in VARIABLES}
    rows = re.findall(r"^\|[^|]*\| `(OTEL_FORGE_WATCH_[A-Z_]+)`[^|]*\| ([^|]+) \|", PAGE, re.M)
    assert len(rows) == 16
    for name, shown in rows:
        variable = defaults[name]
        text = variable.default_text or str(variable.default).lower()
        assert shown.split(" %")[0].removesuffix(" s") == text.removesuffix(".0"), name


def test_the_unit_file_has_systemds_form() -> None:
    """Sections and keys, each value once but for Environment, and a command that our own options understand."""
    [text] = re.findall(r"```ini\n(.*?)```", PAGE, re.S)
    unit = configparser.ConfigParser(strict=False, delimiters=("=",), interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read_string(text)
    assert unit.sections() == ["Unit", "Service", "Install"]
    service = dict(unit["Service"])
    assert (service["Type"], service["NotifyAccess"], service["KillMode"]) == ("notify", "main", "mixed")
    program, command, *words = shlex.split(service["ExecStart"])
    assert program.startswith("/") and command == "watch"
    parsed = watch.make_context("watch", words).params
    assert parsed["command"] == ("gunicorn", "shop:app", "--bind", "127.0.0.1:8000")
    assert (parsed["drain"], parsed["live_url"]) == (5, "http://127.0.0.1:8000/live")
    assert int(service["TimeoutStopSec"]) > 5 + 30


def test_the_names_of_events_and_metrics_are_those_in_the_code() -> None:
    """And the example of the request runs: nobody watches."""
    for name in (reporting.RESTART, reporting.GIVEN_UP, reporting.DECLINED, reporting.EXCUSED, measuring.RESTARTS):
        assert f"`{name}`" in PAGE
    [example] = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    exec(compile(example, "docs/watch.md", "exec"), {})
    assert heartbeat.request_restart("still nobody") is False
