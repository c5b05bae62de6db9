"""The command ``python -m asset_forge.demo``: run, start, stop and status."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType

from asset_forge.demo.processes import STOP_S, tail
from asset_forge.demo.run import Demo, DemoSettings, Flow
from asset_forge.demo.services import ROOT, DemoError, Ports, Telemetry
from asset_forge.demo.state import DemoState
from asset_forge.settings import SettingError, port
from asset_forge.traffic.__main__ import count, rate, seconds

DETACHED_DURATION_S = 1800.0
STARTED_AFTER = 5
START_LIMIT_S = 120.0
POLL_S = 0.2


def parser(environ: Mapping[str, str]) -> argparse.ArgumentParser:
    """Build the command line; ports come from the environment where it has them."""
    made = argparse.ArgumentParser(
        prog="python -m asset_forge.demo",
        description="Run Asset Forge, its two upstream services and traffic, with telemetry.",
    )
    verbs = made.add_subparsers(dest="verb", required=True)
    run = verbs.add_parser("run", help="run in the foreground until Ctrl-C")
    start = verbs.add_parser("start", help="the same; with --detach, return once traffic flows")
    for verb in (run, start):
        _add_run_options(verb, environ)
    start.add_argument("--detach", action="store_true", help="go on in the background (30 minutes by default)")
    verbs.add_parser("stop", help="stop the demo that runs in the background")
    verbs.add_parser("status", help="tell how it is doing; exit code 1 if it is not running")
    return made


def _add_run_options(verb: argparse.ArgumentParser, environ: Mapping[str, str]) -> None:
    add = verb.add_argument
    add("--duration", type=seconds, help="seconds of traffic, after which everything ends")
    add("--requests", type=count, help="exact number of requests, after which everything ends")
    add("--rate", type=rate, default=10.0, help="requests a second, 0 for flat out (default 10)")
    add("--concurrency", type=count, default=8, help="requests under way at a time (default 8)")
    add("--seed", type=int, default=7, help="the same seed sends the same requests (default 7)")
    add("--fault-phases", action=argparse.BooleanOptionalAction, default=True, help="have phases with faults")
    add("--no-traffic", action="store_true", help="only start the services")
    add(
        "--no-telemetry",
        action="store_true",
        help="start the services plain, without opentelemetry-instrument",
    )
    add("--endpoint", help="where OTLP goes (default: OTEL_EXPORTER_OTLP_ENDPOINT or http://127.0.0.1:4318)")
    add("--scrape", action="store_true", help="also offer the API's metrics to a Prometheus that scrapes")
    add("--no-watch", action="store_true", help="start the API without `otel-forge watch`, which restarts it")
    add("--workers", type=count, default=4, help="worker processes of the API (default 4)")
    add("--api-port", type=count, default=port(environ, "PORT", Ports.api))
    add("--image-server-port", type=count, default=port(environ, "IMAGE_SERVER_PORT", Ports.image_server))
    add("--ai-upstream-port", type=count, default=port(environ, "AI_UPSTREAM_PORT", Ports.ai_upstream))
    add("--ledger", type=Path, help="file for the ledger, besides the one in the state folder")


def settings_from(options: argparse.Namespace) -> DemoSettings:
    """Turn the options into settings."""
    return DemoSettings(
        ports=Ports(options.api_port, options.image_server_port, options.ai_upstream_port),
        flow=Flow(
            seed=options.seed,
            rate=options.rate,
            concurrency=options.concurrency,
            duration_s=options.duration,
            requests=options.requests,
            fault_phases=options.fault_phases,
            enabled=not options.no_traffic,
        ),
        telemetry=Telemetry(not options.no_telemetry, options.scrape, options.endpoint),
        api_workers=options.workers,
        watch_api=not options.no_watch,
        ledger=options.ledger,
    )


def run(options: argparse.Namespace, state: DemoState) -> None:
    """Run in the foreground; SIGINT, SIGTERM and SIGHUP end it in order."""
    demo = Demo(settings_from(options), state, os.environ, lambda text: print(text, flush=True))

    def stop(number: int, frame: FrameType | None) -> None:
        demo.stop.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    demo.run()


def start(arguments: Sequence[str], options: argparse.Namespace, state: DemoState) -> None:
    """Run in the background and return once the first requests were answered."""
    if pid := state.running_pid():
        raise DemoError(f"The demo is running already (process {pid}): python -m asset_forge.demo stop")
    passed = [argument for argument in arguments[1:] if argument != "--detach"]
    if options.duration is None and options.requests is None and not options.no_traffic:
        passed += ["--duration", f"{DETACHED_DURATION_S:g}"]
    state.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    print(f"Starting the demo in the background; it says more in {state.own_log}.", flush=True)
    with state.own_log.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "asset_forge.demo", "run", *passed],
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    print(_wait_for_traffic(process, state, 0 if options.no_traffic else STARTED_AFTER), flush=True)
    print("Stop it with: python -m asset_forge.demo stop", flush=True)


def _wait_for_traffic(process: subprocess.Popen[bytes], state: DemoState, enough: int) -> str:
    """Return the status text once enough requests were sent; raises DemoError if that fails."""
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline:
        status = state.read_status()
        if status.get("pid") == process.pid and status["sent"] >= enough:
            return f"{status['addresses']}\n{status['line']}"
        if process.poll() is not None:
            if process.returncode == 0 and state.ledger.exists():
                return state.own_log.read_text()
            raise DemoError(tail(state.own_log))
        time.sleep(POLL_S)
    process.send_signal(signal.SIGTERM)
    raise DemoError(f"No traffic flows after {START_LIMIT_S:g} s.\n{tail(state.own_log)}")


def stop(state: DemoState) -> None:
    """Stop the demo that holds the lock, and wait until it has ended."""
    pid = state.running_pid()
    if pid is None:
        print("The demo is not running.")
        return
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + 4 * STOP_S
    while state.running_pid() == pid:
        if time.monotonic() > deadline:
            raise DemoError(f"Process {pid} does not end.\n{tail(state.own_log)}")
        time.sleep(POLL_S)
    print("The demo has stopped.")


def show_status(state: DemoState) -> int:
    """Print how the demo is doing; returns 0 if it runs, 1 if not."""
    pid = state.running_pid()
    if pid is None:
        print("The demo is not running.")
        return 1
    status = state.read_status()
    print(f"{status.get('addresses', 'Starting.')}\n{status.get('line', '')}\nprocess {pid}")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; returns the exit code."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    state = DemoState.from_env(os.environ)
    try:
        options = parser(os.environ).parse_args(given)
        if options.verb == "stop":
            stop(state)
        elif options.verb == "status":
            return show_status(state)
        elif options.verb == "start" and options.detach:
            start(given, options, state)
        else:
            run(options, state)
    except (DemoError, SettingError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
