"""What is known of checks outside the probes: metrics, and a log record for each change."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from otel_forge.health import draining
from otel_forge.logs.record import FIELDS, is_of_telemetry
from otel_forge.settings import HealthSettings
from tests.health.build import build_checks, wait_for

QUICK = HealthSettings(interval=0.01, timeout=5, fall=3, rise=2)


class Dependency:
    """One that works or does not, as we like."""

    def __init__(self) -> None:
        self.works = True
        self.calls = 0

    def __call__(self) -> None:
        self.calls += 1
        if not self.works:
            raise ConnectionError("password=hunter2-hunter2 was refused")


def numbers(reader: InMemoryMetricReader) -> dict[str, Any]:
    """Return the values of the gauges, and the counts of the histogram, by name and check."""
    found: dict[str, Any] = {}
    data: Any = reader.get_metrics_data()
    for metric in data.resource_metrics[0].scope_metrics[0].metrics:
        for point in metric.data.data_points:
            key = " ".join([metric.name.removeprefix("otel_forge.health."), *point.attributes.values()])
            found[key] = point.value if hasattr(point, "value") else point.count
    return found


def test_states_are_metrics() -> None:
    """Well is 1 and ill is 0, for each check, for the whole and for readiness; every call is measured."""
    reader = InMemoryMetricReader()
    checks = build_checks(QUICK, meter=MeterProvider([reader]).get_meter("test"))
    database, images = Dependency(), Dependency()
    checks.check("database", database)
    checks.check("imageServer", images, required=False)
    checks.start()
    wait_for(lambda: checks.status() == "pass")
    found = numbers(reader)
    assert found.pop("check.duration database") > 0 and found.pop("check.duration imageServer") > 0
    assert found == {"check.status database": 1, "check.status imageServer": 1, "status": 1, "ready": 1}
    images.works = False
    wait_for(lambda: checks.status() == "warn")
    found = numbers(reader)
    assert (found["check.status imageServer"], found["status"], found["ready"]) == (0, 0, 1)
    database.works = False
    wait_for(lambda: checks.status() == "fail")
    found = numbers(reader)
    assert (found["check.status database"], found["ready"]) == (0, 0)


def test_draining_is_not_ready() -> None:
    """While nothing is ill."""
    reader = InMemoryMetricReader()
    checks = build_checks(QUICK, meter=MeterProvider([reader]).get_meter("test"))
    checks.start()
    draining.drain()
    assert numbers(reader) == {"status": 1, "ready": 0}


def test_only_changes_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    """One record when it falls ill, one when it is well again, however often it is asked; no secret in them."""
    caplog.set_level(logging.DEBUG, "otel_forge.health")
    checks, database = build_checks(QUICK), Dependency()
    checks.check("database", database)
    checks.start()
    wait_for(lambda: database.calls > 10)
    assert caplog.records == [], "well from the start is no change"
    for works, status in ((False, "fail"), (True, "pass")):
        database.works = works
        wait_for(lambda status=status: checks.known()["database"][1].status == status)  # type: ignore[misc]
        calls = database.calls
        wait_for(lambda calls=calls: database.calls > calls + 5)  # type: ignore[misc]
    ill, well = caplog.records
    fields = getattr(ill, FIELDS)
    assert (ill.levelno, well.levelno, well.getMessage()) == (
        logging.WARNING,
        logging.INFO,
        "health check database is well again",
    )
    assert ill.getMessage().startswith("health check database fails (ConnectionError: password=")
    assert "hunter2" not in ill.getMessage() + str(fields)
    assert {**fields, "detail": ""} == {
        "check": "database",
        "status": "fail",
        "required": True,
        "reason": "ConnectionError",
        "detail": "",
    }


def test_its_records_are_telemetry_of_the_application() -> None:
    """Unlike those of loggers that speak of telemetry itself."""
    assert not is_of_telemetry("otel_forge.health")
