"""The wheel carries all that `otel-forge up` needs: installed into an empty environment, it starts the stack."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from otel_forge.stack.ports import PORTS
from tests.otlp_receiver import free_port
from tests.programs import clean_environ

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of an environment that holds the wheel and what it depends on."""
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(ROOT))
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "venv", with_pip=True)
    programs = folder / "venv/bin"
    run(str(programs / "python"), "-m", "pip", "install", "-q", "-c", str(ROOT / "constraints.txt"), str(wheel))
    return programs


def run(*command: str, folder: Path | None = None, **environ: str) -> str:
    """Run a command outside the checkout and return what it printed; its failure fails the test."""
    done = subprocess.run(
        command, cwd=folder or "/", env={**clean_environ(), **environ}, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.timeout(900)
def test_up_works_from_any_folder_with_nothing_but_the_wheel(
    installed: Path, tmp_path: Path, native_engines: None
) -> None:
    """Configurations, rules and engine pins are found inside the package; status and down work as well."""
    environ = {port.setting: str(free_port()) for port in PORTS}
    environ["OTEL_FORGE_STATE_DIR"] = str(tmp_path / "state")
    forge = str(installed / "otel-forge")
    try:
        said = run(forge, "up", "--engine", "native", folder=tmp_path, **environ)
        assert "opentelemetry-instrument python app.py" in said
        status = json.loads(run(forge, "status", "--json", folder=tmp_path, **environ))
        assert status["status"] == "running"
    finally:
        run(forge, "down", "--data", "--yes", folder=tmp_path, **environ)


@pytest.mark.parametrize("launcher", [["opentelemetry-instrument"], ["otel-forge", "run"]])
def test_the_wheel_instruments_a_program(installed: Path, tmp_path: Path, launcher: list[str]) -> None:
    """Both launchers find in the wheel what they need, and a telemetry line is said."""
    name, *subcommand = launcher
    done = subprocess.run(
        [str(installed / name), *subcommand, str(installed / "python"), "-c", "print('hello')"],
        cwd=tmp_path,
        env={**clean_environ(), "PATH": f"{installed}:/usr/bin:/bin", "OTEL_SERVICE_NAME": "shop"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == "hello\n"
    assert "otel-forge: service 'shop': traces, metrics, logs -> http://localhost:4318." in done.stderr
