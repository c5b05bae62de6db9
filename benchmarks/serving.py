"""Behind a real server: gunicorn, one worker with threads, under full load and at a steady pace."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import psutil

from benchmarks.measure import Extent
from benchmarks.process import ProcessFailed, clean_environ
from benchmarks.results import Results, Served
from benchmarks.spread import turn
from benchmarks.stage import Stage
from benchmarks.subject.requests_by_kind import kind_named
from benchmarks.variants import Variant

KIND = "asset"
THREADS = 8
CONNECTIONS = 16
PACE = 200.0
_STARTING = 60.0
_ENDING = 40.0
_WARMING = 1.0


class Server:
    """A gunicorn with one worker that runs the app as a variant does."""

    def __init__(self, stage: Stage, variant: Variant, environ: Mapping[str, str] | None = None) -> None:
        self.name = variant.name
        self.port = _free_port()
        self.requests = 0
        self._said = stage.scratch / f"gunicorn-{variant.name}.log"
        gunicorn = [str(stage.find(variant) / "gunicorn"), "benchmarks.subject.wsgi:app"]
        options = ["--workers=1", "--worker-class=gthread", f"--threads={THREADS}", "--keep-alive=60"]
        with self._said.open("wb") as said:
            self._process = subprocess.Popen(
                stage.program(variant, *gunicorn, *options, "--log-level=warning", f"--bind=127.0.0.1:{self.port}"),
                env={**clean_environ(), **stage.settings(variant), **(environ or {})},
                cwd=stage.scratch,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
            )

    def wait(self) -> None:
        """Return when it accepts connections and its worker is there; raise ProcessFailed if that takes too long."""
        deadline = time.monotonic() + _STARTING
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                if self._workers():
                    return
            except OSError:
                pass
            time.sleep(0.05)
        raise ProcessFailed(f"gunicorn of {self.name} did not start: {_last_lines(self._said)}")

    def load(self, stage: Stage, seconds: float, rate: float = 0.0) -> tuple[Served, int]:
        """Put load on it; return what came of it and how many answers were wrong."""
        before = self._cpu()
        answer = stage.load.ask(
            port=self.port, kind=KIND, connections=CONNECTIONS, seconds=seconds, rate=rate, patience=seconds + 60
        )
        self.requests += answer["requests"]
        cpu_us = (self._cpu() - before) / answer["requests"] * 1e6
        latencies = tuple(answer["latencies_ms"])
        return Served(answer["throughput"], answer["p50_ms"], answer["p99_ms"], cpu_us, latencies), answer["wrong"]

    def end(self) -> None:
        """Stop it as an operator does, which is when it sends what it still holds."""
        self._process.terminate()
        try:
            self._process.wait(_ENDING)
        except subprocess.TimeoutExpired:
            for worker in self._workers():
                worker.kill()
            self._process.kill()
            self._process.wait()

    def _workers(self) -> list[psutil.Process]:
        try:
            return psutil.Process(self._process.pid).children()
        except psutil.NoSuchProcess:
            return []

    def _cpu(self) -> float:
        return sum(sum(worker.cpu_times()[:2]) for worker in self._workers())


def serving(stage: Stage, variants: list[Variant], extent: Extent, results: Results) -> None:
    """Measure throughput, latency and CPU of each variant behind gunicorn, in interleaved rounds."""
    servers: dict[str, Server] = {}
    try:
        for variant in variants:
            servers[variant.name] = Server(stage, variant)
        for server in servers.values():
            server.wait()
            server.load(stage, _WARMING)
        for number in range(extent.load_rounds):
            for name in turn(list(servers), number):
                _round(stage, servers[name], extent.load_seconds, results)
            stage.say(f"gunicorn: round {number + 1} of {extent.load_rounds}")
    finally:
        for server in servers.values():
            server.end()
    for variant in variants:
        delivery = results.deliveries["gunicorn", variant.name]
        delivery.add(servers[variant.name].requests, kind_named(KIND).implied, stage.arrived(variant))


def _round(stage: Stage, server: Server, seconds: float, results: Results) -> None:
    full, wrong = server.load(stage, seconds)
    results.full_load[server.name].append(full)
    paced, also_wrong = server.load(stage, seconds, rate=PACE)
    results.paced_load[server.name].append(paced)
    results.wrong[server.name] += wrong + also_wrong


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _last_lines(path: Path) -> str:
    return "\n  ".join(path.read_text(errors="replace").strip().splitlines()[-12:])
