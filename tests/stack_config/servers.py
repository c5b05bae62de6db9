"""A real server as a subprocess: its log in a file, readiness asked over HTTP until a deadline."""

from __future__ import annotations

import os
import subprocess
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path


class Server:
    """A running server. It gets PATH, HOME and the variables given, nothing else of ours."""

    def __init__(self, command: list[str], *, folder: Path, environ: dict[str, str]) -> None:
        self.log_file = folder / f"{Path(command[0]).name}-{time.monotonic_ns()}.log"
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        with self.log_file.open("wb") as log:
            self.process = subprocess.Popen(
                command, cwd=folder, env=kept | environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    @property
    def log(self) -> str:
        """Everything the server has written so far."""
        return self.log_file.read_text(errors="replace")

    def wait_until_ready(self, url: str, deadline: float) -> None:
        """Return once `url` answers 200; fail when the server ends or `deadline` seconds have passed."""
        end = time.monotonic() + deadline
        pause = threading.Event()
        while not answers(url):
            if self.process.poll() is not None:
                raise AssertionError(f"it ended with status {self.process.returncode}:\n{self.log[-4000:]}")
            if time.monotonic() > end:
                raise AssertionError(f"{url} did not answer 200 within {deadline} s:\n{self.log[-4000:]}")
            pause.wait(0.1)

    def stop(self, grace: float = 30.0) -> None:
        """End it with SIGTERM; fail when that takes longer than `grace` seconds."""
        self.process.terminate()
        self.process.wait(grace)

    def kill(self) -> None:
        """End it with SIGKILL."""
        self.process.kill()
        self.process.wait(10)

    def end(self) -> None:
        """End it, by force where a polite request is not heard."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.kill()


def answers(url: str) -> bool:
    """Tell whether `url` answers 200 now."""
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
