"""Log files of a program that runs with telemetry on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.programs import OUR_LAUNCHER, UPSTREAMS_LAUNCHER, Programs

OFF = {"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none"}
PROGRAM = """
    import logging, os
    from opentelemetry import trace
    from otel_forge import get_logger

    log = get_logger("AssetService")
    with trace.get_tracer("app").start_as_current_span("work"):
        log.info("Loading asset", asset_id="123", password="hunter2")
    if os.fork() == 0:
        log.info("in the child")
        os._exit(0)
    os.wait()
    logging.getLogger("library").warning("from a library")
"""


@pytest.mark.parametrize("launcher", [UPSTREAMS_LAUNCHER, OUR_LAUNCHER])
@pytest.mark.parametrize("pipeline", ["lean", "upstream"])
def test_log_dir_is_all_it_takes(programs: Programs, tmp_path: Path, launcher: tuple[str, ...], pipeline: str) -> None:
    """Records of our logger and of others, with trace ids and without secrets, of children too."""
    programs.launcher = launcher
    program = programs.instrumented(
        "python",
        str(programs.write("app.py", PROGRAM)),
        flags=(),
        LOG_DIR="logs",
        OTEL_SERVICE_NAME="shop",
        OTEL_FORGE_PIPELINE=pipeline,
        OTEL_FORGE_STATE_DIR=str(tmp_path / "state"),
        **OFF,
    )
    assert program.wait() == 0, program.err
    (file,) = (tmp_path / "logs").glob("shop-*.log")
    first, second, third = map(json.loads, file.read_text().splitlines())
    assert (first["context"], first["message"], first["service"]) == ("AssetService", "Loading asset", "shop")
    assert first["data"] == {"asset_id": "123", "password": "[REDACTED:password]"}
    assert (len(first["trace_id"]), second["message"]) == (32, "in the child")
    assert (third["level"], third["message"]) == ("WARN", "from a library")
    assert "from a library" in program.err  # by the handler of last resort, as without us


def test_without_log_dir_no_file_is_written(programs: Programs, tmp_path: Path) -> None:
    """Nobody asked for one."""
    program = programs.instrumented(
        "python", str(programs.write("app.py", PROGRAM)), OTEL_FORGE_STATE_DIR=str(tmp_path / "state"), flags=(), **OFF
    )
    assert program.wait() == 0, program.err
    assert not list(tmp_path.rglob("*.log"))
