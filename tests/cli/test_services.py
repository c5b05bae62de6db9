"""`otel-forge status` shows what became of the telemetry of a real, running application."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.delivery.scripted import eventually
from tests.otlp_receiver import free_port
from tests.programs import Program, Programs, clean_environ
from tests.stack.bench import PROJECT

APP = """
import logging, time
from opentelemetry import trace
tracer = trace.get_tracer("shop")
for number in range(7):
    with tracer.start_as_current_span("order"):
        logging.getLogger("shop").warning("order %d", number)
print("made", flush=True)
while True:
    time.sleep(0.1)
    with tracer.start_as_current_span("tick"):
        pass
"""


@pytest.fixture
def shop(programs: Programs) -> Program:
    """An application whose back end is not there."""
    script = programs.write("shop.py", APP)
    program = programs.instrumented(
        sys.executable,
        str(script),
        OTEL_FORGE_PIPELINE="lean",
        OTEL_SERVICE_NAME="shop",
        OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{free_port()}",
        OTEL_BSP_SCHEDULE_DELAY="200",
    )
    program.wait_for_output("made")
    return program


def status(programs: Programs, *arguments: str) -> str:
    """Run `otel-forge status` where no stack runs, so that its exit code is 3."""
    done = subprocess.run(
        [sys.executable, "-m", "otel_forge.cli", "status", "--state-dir", str(programs.folder / "state"), *arguments],
        env={**clean_environ(), "PYTHONPATH": str(PROJECT), "OTEL_FORGE_SPOOL_DIR": str(programs.folder / "spool")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    return done.stdout


def test_status_shows_running_applications_and_what_dead_ones_left(programs: Programs, shop: Program) -> None:
    """Counts, where they are, why nothing is delivered; and after a kill, what waits for the next start."""
    spool: Path = programs.folder / "spool"
    eventually(lambda: list(spool.glob("shop/*/status.json")), 30)
    [service] = json.loads(status(programs, "--json"))["services"]
    [process] = service["processes"]
    logs = process["signals"]["logs"]
    assert (service["service"], process["pid"]) == ("shop", shop.pid)
    assert (logs["created"], logs["delivered"], logs["held"], logs["on_disk"], logs["dropped"]) == (7, 0, 7, 7, {})
    assert "does not take logs (connection refused)" in status(programs)
    shop.process.kill()
    shop.wait()
    [service] = json.loads(status(programs, "--json"))["services"]
    assert service["processes"] == []
    assert service["left_bytes"] > 0
    assert "left on disk by processes that are gone" in status(programs)
