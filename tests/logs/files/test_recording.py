"""Recording everything that is logged, beside what the application does with it."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from otel_forge.logs import flood
from otel_forge.logs.describe import Describer
from otel_forge.logs.files import recording
from otel_forge.logs.files.handler import build
from otel_forge.logs.flood import FloodControl
from otel_forge.logs.json_view import JsonView
from otel_forge.logs.logger import get_logger
from otel_forge.settings import Settings

Start = Callable[..., None]


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    """Start recording; at the end everything is put back."""
    ends = []

    def begin(**environ: str) -> None:
        settings = Settings.from_env({"LOG_DIR": str(folder), "LOG_LEVEL": "info", **environ})
        ends.append(recording.start(settings, "shop", JsonView(Describer("shop"))))

    yield begin
    for end in ends:
        end()


def recorded(folder: Path) -> list[tuple[str, str]]:
    """Return level and message of each line."""
    (file,) = folder.glob("shop-*.log")
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    return [(line["level"], line["message"]) for line in lines]


def test_every_librarys_records_are_written(start: Start, folder: Path) -> None:
    """From INFO on, and no handler is added anywhere."""
    handlers = list(logging.getLogger().handlers)
    start()
    logging.getLogger("urllib3").debug("not this one")
    logging.getLogger("urllib3").info("connected")
    get_logger("AssetService").warning("Slow", asset_id="123")
    assert recorded(folder) == [("INFO", "connected"), ("WARN", "Slow")]
    assert logging.getLogger().handlers == handlers


PROGRAM = """
import logging, sys
from otel_forge.logs.describe import Describer
from otel_forge.logs.files import recording
from otel_forge.logs.files.handler import build
from otel_forge.logs.json_view import JsonView
from otel_forge.settings import Settings

recording.start(Settings.from_env({"LOG_DIR": sys.argv[1]}), "shop", JsonView(Describer("shop")))
logging.getLogger("app").info("for the file")
logging.getLogger("app").warning("by the last resort")
logging.basicConfig(format="mine: %(message)s")
logging.getLogger("app").warning("by a handler")
"""


def test_the_applications_own_output_stays(folder: Path) -> None:
    """The handler of last resort, and basicConfig after that; the file has INFO as well, without being asked."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(folder)], capture_output=True, text=True, check=True)
    assert done.stderr == "by the last resort\nmine: by a handler\n"
    assert recorded(folder) == [("INFO", "for the file"), ("WARN", "by the last resort"), ("WARN", "by a handler")]


def test_log_level_decides_how_much(start: Start, folder: Path) -> None:
    """LOG_LEVEL wins over our default."""
    start(LOG_LEVEL="debug")
    logging.getLogger("app").debug("details")
    assert recorded(folder) == [("DEBUG", "details")]


def test_a_level_that_the_application_chose_stays(start: Start, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not for us to open what was closed."""
    monkeypatch.setattr(logging.getLogger(), "level", logging.ERROR)
    start(LOG_LEVEL="")
    assert logging.getLogger().level == logging.ERROR


@pytest.mark.parametrize(("said", "expected"), [("", []), ("true", [("ERROR", "kept apart")])])
def test_records_that_do_not_reach_the_root_logger(
    start: Start, folder: Path, monkeypatch: pytest.MonkeyPatch, said: str, expected: list[tuple[str, str]]
) -> None:
    """As for telemetry, the setting says whether they count."""
    start(OTEL_FORGE_LOGS_UNPROPAGATED=said)
    apart = logging.getLogger("apart")
    monkeypatch.setattr(apart, "propagate", False)
    apart.addHandler(logging.NullHandler())
    logging.getLogger("apart.child").error("kept apart")
    logging.getLogger("app").error("end")
    assert recorded(folder) == [*expected, ("ERROR", "end")]


def test_a_flood_is_held_back(start: Start, folder: Path) -> None:
    """Two of five, and a line that says so."""
    start()
    control = FloodControl(2, 60)
    flood.set_current(control)
    try:
        for number in range(5):
            logging.getLogger("app").warning("retry %d", number)
        control.flush(everything=True)
    finally:
        flood.set_current(None)
    assert [message for _, message in recorded(folder)] == ["retry 0", "retry 1", "retry %d … 3 more of this in 0 s"]


def test_when_it_ends_nothing_is_left_behind(folder: Path) -> None:
    """Neither the wrapper nor the level."""
    before = logging.Logger.callHandlers, logging.getLogger().level
    end = recording.start(Settings.from_env({"LOG_DIR": str(folder)}), "shop", JsonView(Describer("shop")))
    end()
    logging.getLogger("app").error("after")
    assert (logging.Logger.callHandlers, logging.getLogger().level) == before
    assert not folder.exists()


def test_problems_are_a_metric() -> None:
    """By kind, for an alert to see that a disk is full."""
    reader = InMemoryMetricReader()
    handler = build(Settings.from_env({"LOG_DIR": "/dev/null"}).log_files, "shop", JsonView(Describer("shop")))
    recording.count_problems(handler, MeterProvider([reader]))
    handler.handle(logging.makeLogRecord({"msg": "diverted"}))
    data = reader.get_metrics_data()
    assert data is not None
    (metric,) = data.resource_metrics[0].scope_metrics[0].metrics
    assert metric.name == "otel_forge.logs.file.problems"
    points = {
        str((point.attributes or {})["problem"]): getattr(point, "value", None) for point in metric.data.data_points
    }
    assert points == {
        "diverted": 1,
        "failed": 0,
        "torn": 0,
        "sealing_failures": 0,
        "packing_failures": 0,
        "removed_for_room": 0,
    }
