"""`otel-forge audit`: what recordings hold, and what a running app sends."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from google.protobuf.json_format import ParseDict
from opentelemetry.proto.logs.v1.logs_pb2 import LogsData
from opentelemetry.proto.metrics.v1.metrics_pb2 import MetricsData
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from otel_forge.cli.audit import audit
from otel_forge.cli.commands import main
from tests.programs import Programs


def _pair(key: str, text: str) -> dict[str, Any]:
    return {"key": key, "value": {"stringValue": text}}


TRACES = {
    "resourceSpans": [
        {
            "resource": {"attributes": [_pair("service.name", "shop")]},
            "scopeSpans": [
                {
                    "spans": [
                        {
                            "name": "GET /",
                            "traceId": "S/kvNXezTaajzpKdDg5HNg==",
                            "attributes": [
                                _pair("url.query", "q=[REDACTED:query-value]"),
                                _pair("user.password", "x1"),
                            ],
                            "events": [{"name": "exception", "attributes": [_pair("exception.message", "token=abc1")]}],
                        }
                    ]
                }
            ],
        }
    ]
}
METRICS = {
    "resourceMetrics": [
        {
            "scopeMetrics": [
                {"metrics": [{"name": "a", "gauge": {"dataPoints": [{"attributes": [_pair("token", "x1")]}]}}]}
            ]
        }
    ]
}
LOGS = {
    "resourceLogs": [
        {
            "scopeLogs": [
                {"logRecords": [{"timeUnixNano": "1795435200000000000", "body": {"stringValue": "all is well"}}]}
            ]
        }
    ]
}


def _audited(path: Path, *options: str) -> tuple[int, str]:
    result = CliRunner().invoke(audit, [str(path), *options])
    return result.exit_code, result.output


def _files(folder: Path) -> dict[str, Path]:
    bodies = [ParseDict(TRACES, TracesData()).SerializeToString(), ParseDict(LOGS, LogsData()).SerializeToString()]
    files = {name: folder / name for name in ("lines.json", "delimited.pb")}
    files["lines.json"].write_text(f"{json.dumps(TRACES)}\n{json.dumps(LOGS)}\n")
    files["delimited.pb"].write_bytes(b"".join(struct.pack(">I", len(body)) + body for body in bodies))
    return files


@pytest.mark.parametrize("form", ["lines.json", "delimited.pb"])
def test_a_recording_is_audited(tmp_path: Path, form: str) -> None:
    """Keys by signal, what was replaced by class, and what looks like a secret: then the exit code is 3."""
    code, output = _audited(_files(tmp_path)[form])
    assert output.splitlines() == [
        "Read 1 log records, 1 spans.",
        "",
        "signal  key                values  of them replaced",
        "logs    (body)             1       -",
        "traces  (name)             2       -",
        "traces  exception.message  1       -",
        "traces  service.name       1       -",
        "traces  url.query          1       1",
        "traces  user.password      1       -",
        "",
        "Replaced before they left, by class:",
        "  query-value  1",
        "",
        "Left although they look like secrets:",
        "  signal  key                class     values",
        "  traces  exception.message  token     1",
        "  traces  user.password      password  1",
    ]
    assert code == 3


def test_one_request_of_logs_without_secrets_is_fine(tmp_path: Path) -> None:
    """The body of a single request works, too."""
    path = tmp_path / "body"
    path.write_bytes(ParseDict(LOGS, LogsData()).SerializeToString())
    assert _audited(path, "--no-keys") == (0, "Read 1 log records.\n\nNo value that looks like a secret left.\n")


def test_nothing_read_is_no_pass(tmp_path: Path) -> None:
    """An app that sent nothing, or the wrong file, must not make a check in CI green."""
    recording = tmp_path / "empty.json"
    recording.write_text("{}\n")
    result = CliRunner().invoke(main, ["audit", str(recording)])
    assert result.exit_code == 1
    assert "Read nothing" in result.output
    assert "No value" not in result.output


def test_points_of_metrics_are_audited(tmp_path: Path) -> None:
    """A gauge as protobuf is not taken for a span."""
    path = tmp_path / "body"
    path.write_bytes(ParseDict(METRICS, MetricsData()).SerializeToString())
    code, output = _audited(path)
    assert (code, output.splitlines()[0]) == (3, "Read 1 points.")
    assert output.splitlines()[-1].split() == ["metrics", "token", "token", "1"]


def test_a_file_of_something_else_is_named(tmp_path: Path) -> None:
    """The message says what a file may be."""
    path = tmp_path / "picture.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" * 9)
    result = CliRunner().invoke(main, ["audit", str(path)])
    assert result.exit_code == 1
    assert f"{path} is not OTLP as JSON lines, as length-delimited protobuf, or one request" in result.output


def test_a_running_app_is_audited(tmp_path: Path) -> None:
    """The app sends to the auditor, which says what arrived."""
    with Programs(tmp_path) as programs:
        programs.write("app.py", "import logging\nlogging.warning('password=hunter2 and more')\n")
        auditor = programs.start("otel-forge", "audit", "--listen", "0", "--seconds", "12")
        auditor.wait_for_output("Listening on http://127.0.0.1:")
        url = auditor.err.rpartition("Listening on ")[2].strip()
        app = programs.instrumented("python", "app.py", OTEL_EXPORTER_OTLP_ENDPOINT=url, OTEL_FORGE_PIPELINE="lean")
        assert app.wait() == 0
        assert auditor.wait() == 0
        assert "  password  1" in auditor.out
        assert "No value that looks like a secret left." in auditor.out
