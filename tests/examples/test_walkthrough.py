"""The README's walk through a broken image server: each command is run in its order, and says what is printed there."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import require_tool
from tests.examples.conftest import EXAMPLE, free_ports
from tests.otlp_receiver import OtlpReceiver
from tests.programs import clean_environ

README = (EXAMPLE / "README.md").read_text(encoding="utf-8")
SECTION = README[README.index("## Break the image server") : README.index("## Traffic that can")]
STEP = re.compile(r"^\$ (.+)\n((?:(?!\$ |```).+\n)*)", re.MULTILINE)
LOOKING = ("curl -s localhost", "curl -si ", "otel-forge ", "ls ")
"""What only looks can be asked again until it has come true; everything else is done once."""
VARYING = re.compile(r"[0-9a-f]{32}|(?<=worker )\d+|(?<=process )\d+|\d+(?= m?s\b)| +")


class Shell:
    """A user's terminal: what is exported holds for the commands that follow."""

    def __init__(self, folder: Path, endpoint: str) -> None:
        api, images, ai = self._ports = [str(port) for port in free_ports(3)]
        self._state = str(folder / "state")
        self._exports: list[str] = []
        self._environ = {
            **clean_environ(),
            "PYTHONPATH": os.pathsep.join([str(EXAMPLE), os.environ.get("PYTHONPATH", "")]),
            "PORT": api,
            "IMAGE_SERVER_PORT": images,
            "AI_UPSTREAM_PORT": ai,
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
            "OTEL_FORGE_STATE_DIR": self._state,
            "OTEL_FORGE_HEALTH_INTERVAL": "1",
            "OTEL_FORGE_ALERTS_INTERVAL": "1",
            "OTEL_FORGE_WATCH_INTERVAL": "0.5",
            "OTEL_FORGE_WATCH_PATIENCE": "6",
        }

    def run(self, command: str) -> str:
        """Run a command as it is printed, on the ports and in the folder of this test; return what it says."""
        if command.startswith("export "):
            self._exports.append(self._here(command))
        script = "\n".join([*self._exports, self._here(command)])
        # Read from its input: on its command line, pgrep would find the shell itself.
        done = subprocess.run(
            ["bash", "-s"], input=script, env=self._environ, cwd=EXAMPLE, capture_output=True, text=True, timeout=120
        )
        return done.stdout + done.stderr

    def _here(self, command: str) -> str:
        api, images, _ = self._ports
        command = command.replace(":3004", f":{api}").replace(":3005", f":{images}")
        command = command.replace("asset_forge.wsgi", f"'asset_forge.wsgi:app --bind 127.0.0.1:{api}'")
        return command.replace("~/.local/state/otel-forge", self._state)


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """A terminal in the example's folder; the demo that is started there ends with it."""
    for tool in ("bash", "curl", "pgrep"):
        require_tool(tool)
    with OtlpReceiver() as receiver:
        made = Shell(tmp_path, receiver.url)
        yield made
        made.run("python -m asset_forge.demo stop")


def test_the_story_of_the_broken_image_server_is_true(shell: Shell) -> None:
    """Health, logs and the alert tell of it, nothing restarts for it, and a frozen worker is replaced."""
    steps = STEP.findall(SECTION)
    assert len(steps) == SECTION.count("\n$ ")
    for command, printed in steps:
        said = _said(shell, command, printed.splitlines())
        assert _missing(said, printed.splitlines()) == [], f"$ {command}\n{said}"


def _said(shell: Shell, command: str, expected: list[str]) -> str:
    """Return what a command says, at last, if it only looks: it may take a while to come true."""
    deadline = time.monotonic() + 60
    while True:
        said = shell.run(command)
        is_over = time.monotonic() > deadline or not command.startswith(LOOKING)
        if is_over or not _missing(said, expected):
            return said
        time.sleep(0.2)


def _missing(said: str, expected: list[str]) -> list[str]:
    return [line for line in expected if not re.search(_pattern(line), said)]


def _pattern(line: str) -> str:
    """Return what finds a printed line, whatever its numbers of processes, times and trace ids."""
    fixed, varying = VARYING.split(line), VARYING.findall(line)
    wildcards = [r"\s+" if part.isspace() else r"[0-9a-f.]+" for part in varying]
    return "".join(re.escape(text) + wildcard for text, wildcard in zip(fixed, [*wildcards, ""], strict=True))
