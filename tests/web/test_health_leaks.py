"""S1 for health: secrets in what checks say are in no answer, whoever asks, and not in the log."""

from __future__ import annotations

import logging

import pytest
from flask import Flask

from otel_forge.health import draining, paths
from otel_forge.health.checks import MOST_CHECKS
from otel_forge.health.results import FAIL, Result
from otel_forge.settings import HealthSettings
from otel_forge.web.health import HEALTH_JSON, HealthRoutes
from tests.corpus import Secret, secrets
from tests.health.build import build_checks, end_all, wait_for

TOKEN = "let-me-see"
FORMS = [
    {"Accept": accept, "Authorization": f"Bearer {token}"} for accept in ("*/*", HEALTH_JSON) for token in ("", TOKEN)
]


def failing(secret: Secret) -> Result | None:
    """Fail with a secret in the exception, or in the detail."""
    if len(secret.text) % 2:
        raise ValueError(secret.text)
    return Result(FAIL, secret.text)


@pytest.mark.gate
def test_no_secret_of_the_corpus_is_in_an_answer_or_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """S1: exceptions and details that hold one, and the reason of a drain; the proof would fail without redaction."""
    caplog.set_level(logging.DEBUG)
    told, corpus = "", secrets()
    for start in range(0, len(corpus), MOST_CHECKS):
        some = corpus[start : start + MOST_CHECKS]
        checks = build_checks(HealthSettings(interval=60, timeout=20))
        for number, secret in enumerate(some):
            checks.check(f"check_{number}", lambda secret=secret: failing(secret))
        app = Flask("leaking")
        HealthRoutes(app, checks=checks, token=TOKEN)
        checks.start()
        wait_for(lambda checks=checks, some=some: len(checks.required_down()) == len(some), 60)  # type: ignore[misc]
        for secret in some[:10]:
            draining.resume()
            draining.drain(secret.text)
            draining.advance(0.0)  # as the background loop does when it turns
            told += app.test_client().get("/ready", headers=FORMS[-1]).text
        draining.resume()
        for path in ("/live", "/ready", "/startup", "/api/health"):
            told += "".join(app.test_client().get(path, headers=form).text for form in FORMS)
    wait_for(lambda: sum("fails" in record.getMessage() for record in caplog.records) == len(corpus))
    end_all()
    paths.PROBES.clear()
    logged = "".join(record.getMessage() + str(record.__dict__) for record in caplog.records)
    assert told.count('"output"') > len(corpus)
    assert [secret.name for secret in corpus if secret.needle in told or secret.needle in logged] == []
