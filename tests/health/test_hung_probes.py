"""10,000 probes while every dependency hangs."""

from __future__ import annotations

import threading
from collections import Counter

import pytest
from flask import Flask

from otel_forge import health
from otel_forge.settings import HealthSettings
from otel_forge.web.health import HealthRoutes
from tests.health.build import build_checks, wait_for
from tests.health.holes import BlackHole
from tests.health.test_checks import Hung

PROBES = 10_000


@pytest.mark.gate
def test_ten_thousand_probes_wait_for_nothing_and_start_no_threads(black_hole: BlackHole) -> None:
    """H2: each is answered while everything hangs, and there is one thread for each check and one for all of them."""
    hung = Hung()
    checks = build_checks(HealthSettings(interval=0.05, timeout=0.05, fall=1))
    checks.check("database", hung)
    checks.check("queue", hung, required=False)
    checks.check("imageServer", health.http(f"http://127.0.0.1:{black_hole.port}/", timeout=60), required=False)
    app = Flask("hung")
    HealthRoutes(app, checks=checks)
    client, before = app.test_client(), threading.active_count()
    checks.start()
    wait_for(lambda: checks.required_down() == ("database",))
    most, answers = 0, Counter[tuple[str, int]]()
    for number in range(PROBES):
        path = ("/live", "/ready", "/startup", "/api/health")[number % 4]
        answers[path, client.get(path).status_code] += 1
        if number % 100 == 0:
            most = max(most, threading.active_count())
    assert answers == {(path, 200 if path == "/live" else 503): PROBES / 4 for path, _ in answers}
    assert most - before <= 3 + 1
    assert hung.calls == 2, "none was called anew for a probe"
    hung.release.set()
