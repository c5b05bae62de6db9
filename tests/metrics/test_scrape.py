"""The scrape endpoint for Prometheus: what it shows is redacted as everything else is."""

from __future__ import annotations

import pytest

from tests.otlp_receiver import OtlpReceiver, free_port
from tests.programs import Programs

APP = """
    import os
    import urllib.request
    from opentelemetry import metrics

    meter = metrics.get_meter("shop")
    meter.create_counter("calls").add(1, {"token": "hunter2", "url.query": "q=alice", "note": "password=hunter2 fine"})
    meter.create_histogram("sizes").record(3, {"api_key": "hunter2", "kind": "fine"})
    meter.create_observable_gauge("heat", [lambda _: [metrics.Observation(1, {"session.id": "hunter2"})]])
    for accepted in ("text/plain", "application/openmetrics-text; version=1.0.0"):
        url = f"http://127.0.0.1:{os.environ['OTEL_EXPORTER_PROMETHEUS_PORT']}/metrics"
        request = urllib.request.Request(url, headers={"Accept": accepted})
        print(urllib.request.urlopen(request, timeout=10).read().decode())
"""


def scraped(programs: Programs, receiver: OtlpReceiver, pipeline: str, **environ: str) -> str:
    """Return both pages that a scraper can ask for."""
    program = programs.instrumented(
        "python",
        str(programs.write("app.py", APP)),
        OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url,
        OTEL_METRICS_EXPORTER="otlp,prometheus",
        OTEL_EXPORTER_PROMETHEUS_PORT=str(free_port()),
        OTEL_RESOURCE_ATTRIBUTES="db.password=hunter2,team=fine",
        OTEL_FORGE_PIPELINE=pipeline,
        flags=(),
        **environ,
    )
    assert program.wait() == 0, program.err
    return program.out


@pytest.mark.parametrize("pipeline", ["lean", "upstream"])
def test_labels_hold_no_secrets(programs: Programs, receiver: OtlpReceiver, pipeline: str) -> None:
    """S1: of counters, histograms, gauges and the target; what is harmless stays."""
    pages = scraped(programs, receiver, pipeline)
    assert "hunter2" not in pages and "alice" not in pages
    for label in (
        'token="[REDACTED:token]"',
        'url_query="q=[REDACTED:query-value]"',
        'note="password=[REDACTED:password] fine"',
        'api_key="[REDACTED:api-key]"',
        'session_id="[REDACTED:session-id]"',
        'db_password="[REDACTED:password]"',
    ):
        assert pages.count(label) >= 2, label  # once in each format
    assert pages.count('team="fine"') >= 2 and 'kind="fine"' in pages


def test_with_redaction_off_they_do(programs: Programs, receiver: OtlpReceiver) -> None:
    """The test above can fail."""
    assert scraped(programs, receiver, "lean", OTEL_FORGE_REDACTION="false").count("hunter2") >= 8
