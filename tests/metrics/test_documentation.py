"""docs/metrics.md: its examples run, and its tables are what Prometheus shows."""

from __future__ import annotations

import json
import re
import shutil
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from otel_forge.metrics import gunicorn, record, runtime
from otel_forge.stack.components import BY_NAME, Place
from otel_forge.stack.ports import PORTS
from otel_forge.stack.settings import StackSettings
from otel_forge.variables import VARIABLES
from tests.metrics.conftest import Recorded
from tests.otlp_receiver import free_port
from tests.programs import Programs, get
from tests.stack_config.conftest import FindEngine, FreePorts, StartServer

PAGE = (Path(__file__).parents[2] / "docs/metrics.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
CALLS = re.findall(r"^\| `(record\(.*?\))` \| (\w+) `(.*?)` in (\S+) \| `(.*?)` \|$", PAGE, re.MULTILINE)
"""Call, kind, name, unit and the name in Prometheus."""
OF_PROCESS = dict(re.findall(r"^\| `([a-z_.]+)` \| .*\| `([a-z_]+)` \|$", PAGE, re.MULTILINE))
"""Names in Prometheus of the metrics that nobody has to record."""


def test_the_examples_are_a_program_that_runs(recorded: Recorded) -> None:
    """And what they record is there."""
    names: dict[str, Any] = {"__name__": "examples"}
    for block in EXAMPLES:
        exec(compile(block, "docs/metrics.md", "exec"), names)
    assert recorded.values("asset_load_time") == [({"asset_type": "weapon"}, 1.234)]
    assert recorded.values("assets.loaded") == [({"asset_type": "weapon"}, 1)]
    assert recorded.values("assets.quality") == [({}, 0.97)]
    assert recorded.values("jobs.by_kind") == [({"kind": "render"}, 3), ({"kind": "export"}, 1)]


def test_each_call_is_recorded_as_the_table_says(recorded: Recorded) -> None:
    """Kind, name and unit."""
    assert len(CALLS) == PAGE.count("| `record(") == 8
    kinds = {"Histogram": "histogram", "Gauge": "gauge"}
    for call, kind, name, unit, _ in CALLS:
        eval(call, {"record": record})
        metric = recorded.metrics()[name]
        found = kinds.get(type(metric.data).__name__)
        if found is None:
            found = "counter" if metric.data.is_monotonic else "up_down_counter"
        assert (found, metric.unit) == (kind, unit), call


def test_every_metric_of_the_process_is_in_the_tables() -> None:
    """And no other."""
    assert set(OF_PROCESS) == {series.name for series in (*runtime.SERIES, *gunicorn.SERIES)}


def test_every_setting_is_one_that_there_is() -> None:
    """The names in the page are in the table of settings."""
    named = set(re.findall(r"\b(OTEL_[A-Z_]+)\b", PAGE))
    assert named and named <= {variable.name for variable in VARIABLES}


@pytest.fixture
def prometheus(
    engine: FindEngine, bundle: Path, start: StartServer, free_ports: FreePorts, tmp_path: Path
) -> Iterator[str]:
    """A real Prometheus with the shipped configuration that scrapes nobody; its address."""
    component = BY_NAME["prometheus"]
    config = tmp_path / "config"
    shutil.copytree(bundle / component.config, config)
    (config / "targets/stack.yaml").write_text("[]\n")
    numbers = free_ports(*(port.setting for port in PORTS))
    by_key = {port.key: int(numbers[port.setting]) for port in PORTS}
    place = Place("127.0.0.1", str(config), str(tmp_path / "state"), by_key, StackSettings.from_env({}).retention)
    command = [str(engine(component.engine)), *component.command(place)]
    start(command, ready=place.fill(component.ready), environ=component.variables(place), deadline=90)
    yield f"http://127.0.0.1:{by_key['PROMETHEUS']}"


def test_the_names_in_prometheus_are_those_of_the_tables(programs: Programs, prometheus: str) -> None:
    """A real gunicorn sends to a real Prometheus, and is scraped as well, where ratios are not called so."""
    calls = "\n".join(call for call, *_ in CALLS)
    programs.write(
        "named.py",
        "from otel_forge.metrics import record\n"
        f"{calls}\n"
        "def app(environ, start_response):\n"
        "    start_response('200 OK', [])\n"
        "    return [b'hello']\n",
    )
    port, scraped = free_port(), free_port()
    programs.instrumented(
        "gunicorn", "named:app", "--bind", f"127.0.0.1:{port}", "--no-control-socket", "--worker-class", "gthread",
        "--max-requests", "1000",
        OTEL_METRICS_EXPORTER="otlp,prometheus", OTEL_TRACES_EXPORTER="none", OTEL_LOGS_EXPORTER="none",
        OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=f"{prometheus}/api/v1/otlp/v1/metrics", OTEL_METRIC_EXPORT_INTERVAL="500",
        OTEL_EXPORTER_PROMETHEUS_PORT=str(scraped), PYTHONPATH=str(Path.cwd()),
    )  # fmt: skip
    assert get(f"http://127.0.0.1:{port}/")[1] == "hello"
    wanted = set(OF_PROCESS.values())
    for _, kind, _, _, name in CALLS:
        wanted |= {f"{name}_{part}" for part in ("bucket", "sum", "count")} if kind == "histogram" else {name}
    assert wanted - stored(prometheus, wanted) == set()
    pages = "".join(page(scraped + offset) for offset in range(4))
    shown = set(re.findall(r"^(\w+?)(?:\{| )", pages, re.MULTILINE))
    assert {name.removesuffix("_ratio") for name in wanted} - shown == set()


def stored(prometheus: str, wanted: set[str], deadline: float = 30.0) -> set[str]:
    """Return the names of series in a Prometheus, as soon as those wanted are there, or after `deadline` seconds."""
    end = time.monotonic() + deadline
    while True:
        with urllib.request.urlopen(f"{prometheus}/api/v1/label/__name__/values", timeout=10) as answer:
            found = set(json.loads(answer.read())["data"])
        if wanted <= found or time.monotonic() > end:
            return found
        time.sleep(0.1)


def page(port: int) -> str:
    """Return what a scrape endpoint says; nothing where nobody listens."""
    try:
        return get(f"http://127.0.0.1:{port}/metrics", timeout=0.2)[1]
    except OSError:
        return ""
