"""`otel-forge watch` as a user has it: signals, exit codes, crashes, requests, draining, attaching, its own end."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import psutil
import pytest

from tests.monitor.at_once import at_once
from tests.monitor.sick import CHECKOUT, QUICK, incidents_in, watch
from tests.otlp_receiver import OtlpReceiver, attributes
from tests.programs import Program, Programs, get

SAYS_SIGNALS = """
    import os, signal, sys, time
    FOLDER = os.environ["OTEL_FORGE_WATCH_DIR"]
    def said(number, frame):
        print("got", signal.Signals(number).name, os.path.exists(FOLDER + "/draining"), flush=True)
        if number in (signal.SIGTERM, signal.SIGINT):
            sys.exit(7)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, said)
    print("session", os.getsid(0), flush=True)
    print("pid", os.getpid(), flush=True)
    while True:
        time.sleep(0.05)
"""


def pid_in(program: Program, word: str = "pid ") -> int:
    """Return the number that the app has said last."""
    program.wait_for_output(word)
    return int(program.out.rsplit(word, 1)[1].split()[0])


def signals_app(programs: Programs, *options: str, **environ: str) -> Program:
    script = programs.write("app.py", SAYS_SIGNALS)
    program = watch(programs, *options, "--", sys.executable, str(script), **environ)
    program.wait_for_output("pid ")
    return program


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def gone_within(pid: int, seconds: float) -> bool:
    """Wait until a process is gone; return whether it is."""
    deadline = time.monotonic() + seconds
    while not is_gone(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return is_gone(pid)


@at_once
def test_signals_reach_the_app_once_and_its_exit_code_is_ours(programs: Programs) -> None:
    """HUP and USR1 on the way, INT at the end; in a session of its own the terminal's Ctrl-C does not come twice."""
    program = signals_app(programs)
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        program.process.send_signal(number)
        program.wait_for_output(f"got {signal.Signals(number).name}")
    assert pid_in(program, "session ") != os.getsid(program.pid)
    program.process.send_signal(signal.SIGINT)
    assert program.wait() == 7
    assert program.out.count("got SIGINT") == 1


@at_once
def test_what_the_app_says_passes_untouched(programs: Programs) -> None:
    """On both streams, also without a line end."""
    script = programs.write("app.py", "import sys; sys.stdout.write('out'); sys.stderr.write('err\\x1b[0m')")
    for options in ((), ("--capture",)):
        program = watch(programs, *options, "--", sys.executable, str(script))
        assert program.wait() == 0
        assert (program.out, program.err.splitlines()[0]) == (
            "out",
            "err\x1b[0motel-forge: watch: sick: it ended by itself with exit code 0.",
        )


@at_once
def test_what_the_app_said_last_is_not_cut_off(programs: Programs) -> None:
    """However slowly it is read."""
    script = programs.write("app.py", "import sys; sys.stdout.write('x' * 300_000)")
    slow = "import sys, time; time.sleep(2); print(len(sys.stdin.read()))"
    words = " ".join(["otel-forge", "watch", "--capture", "--no-telemetry", "--", sys.executable, str(script)])
    program = programs.start(
        "sh", "-c", f"{words} | {sys.executable} -c '{slow}'",
        PYTHONPATH=str(CHECKOUT), OTEL_FORGE_STATE_DIR=str(programs.folder / "state"),
    )  # fmt: skip
    assert program.wait() == 0
    assert program.out == "300000\n"


@at_once
def test_the_app_finds_its_signals_as_they_would_be_without_us(programs: Programs) -> None:
    """SIGPIPE, which Python ignores, ends a program; SIGHUP, which nohup has us ignore, does not."""
    program = programs.start("sh", "-c", "trap '' HUP; grep SigIgn /proc/self/status")
    watched = watch(programs, "--plain", "--", "sh", "-c", "trap '' HUP; grep SigIgn /proc/self/status")
    assert (program.wait(), watched.wait()) == (0, 0)
    assert watched.out == program.out


@at_once
def test_nohup_holds(programs: Programs) -> None:
    """The end of the terminal ends neither watch nor the app."""
    state = str(programs.folder / "state")
    environ = {"PYTHONPATH": str(CHECKOUT), "OTEL_FORGE_STATE_DIR": state, "OTEL_SERVICE_NAME": "shop"}
    program = programs.start(
        "sh", "-c", "trap '' HUP; exec otel-forge watch --no-telemetry --plain -- sh -c 'echo begun; sleep 2; exit 0'",
        **environ,
    )  # fmt: skip
    program.wait_for_output("begun")
    program.process.send_signal(signal.SIGHUP)
    assert program.wait() == 0
    assert program.notices() == ["watch: shop: it ended by itself with exit code 0."]


@at_once
def test_without_telemetry_a_view_of_logs_does_not_swallow_what_is_said(programs: Programs) -> None:
    """There is nobody then who would show it."""
    program = watch(programs, "--", "true", OTEL_FORGE_LOGS_VIEW="console")
    assert program.wait() == 0
    assert program.notices() == ["watch: sick: it ended by itself with exit code 0."]


@pytest.mark.gate
@at_once
def test_a_crash_loop_ends_at_the_fourth_crash(programs: Programs) -> None:
    """H3: three restarts, then the exit code of the app, an error event, and an incident for each crash."""
    assert crash_again_and_again(programs) == []


@at_once
def test_the_last_words_before_each_crash_are_kept(programs: Programs) -> None:
    """Where the output passes through us."""
    assert crash_again_and_again(programs, "--capture") == [["luck", "no", "started"]] * 4


def crash_again_and_again(programs: Programs, *options: str) -> list[list[str]]:
    """Let an app crash until it is given up; return the words that the incidents have of its output."""
    script = programs.write("app.py", "print('started'); raise SystemExit('no luck')")
    program = watch(programs, *options, "--", sys.executable, str(script))
    assert program.wait() == 1
    assert program.out.count("started") == 4
    said = program.notices()
    assert sum(line.startswith("watch: restarting sick") for line in said) == 3
    assert "watch: sick is not restarted any more, because restarts have not helped" in said[-1]
    incidents = incidents_in(programs.folder)
    assert len(incidents) == 4
    outputs = [path.read_text() for incident in incidents if (path := incident / "output.txt").exists()]
    return [sorted(output.split()) for output in outputs]


@pytest.mark.gate
@at_once
def test_the_end_of_restarts_calls_somebody(programs: Programs) -> None:
    """H3: by the notifiers of alerts, before watch ends."""
    bodies: list[dict[str, object]] = []
    with taking_posts(bodies) as url:
        program = watch(
            programs, "--restarts", "1/600s", "--", sys.executable, "-c", "raise SystemExit(3)",
            OTEL_FORGE_ALERTS_WEBHOOK_URL=url,
        )  # fmt: skip
        assert program.wait() == 3
    [body] = bodies
    assert "Restarts have not helped" in json.dumps(body)
    assert "it ended by itself with exit code 3" in json.dumps(body)


@contextmanager
def taking_posts(bodies: list[dict[str, object]]) -> Iterator[str]:
    """Take what is posted to the address that is yielded."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/alerts"
    finally:
        server.shutdown()
        server.server_close()


def test_a_restart_is_an_event_and_a_metric(programs: Programs, receiver: OtlpReceiver) -> None:
    """Of a service of its own, beside the host's and the app's metrics by the conventions."""
    script = programs.write("app.py", "import os, time; time.sleep(0.5); os._exit(3)")
    program = watch(
        programs, "--interval", "0.2", "--", sys.executable, str(script), OTEL_SDK_DISABLED="false",
        OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url, OTEL_BLRP_SCHEDULE_DELAY="100", OTEL_METRIC_EXPORT_INTERVAL="300",
    )  # fmt: skip
    assert program.wait() == 3
    logs = receiver.wait_for(lambda got: len(got.logs()) >= 4 and got.logs())
    restarts = [attributes(log.attributes) for log in logs if log.event_name == "otel_forge.restart"]
    assert [found["otel_forge.watch.attempt"] for found in restarts] == [1, 2, 3]
    assert {found["otel_forge.watch.reason"] for found in restarts} == {"exited"}
    assert Path(restarts[0]["otel_forge.watch.incident"]).is_dir()
    [given_up] = [log for log in logs if log.event_name == "otel_forge.restart.given_up"]
    assert given_up.severity_text == "ERROR"
    metrics = receiver.wait_for(lambda got: "otel_forge.restarts" in got.metrics() and got.metrics())
    assert set(metrics) >= {
        "system.cpu.utilization", "system.memory.usage", "system.memory.utilization", "system.filesystem.usage",
        "system.filesystem.utilization", "process.cpu.time", "process.memory.usage", "process.thread.count",
        "process.unix.file_descriptor.count", "process.uptime",
    }  # fmt: skip
    [resource] = {
        attributes(of_resource.resource.attributes)["service.name"]
        for request in receiver.received.requests["metrics"]
        for of_resource in request.resource_metrics
        if any(metric.name == "otel_forge.restarts" for scope in of_resource.scope_metrics for metric in scope.metrics)
    }
    assert resource == "sick-watch"


def test_systemd_is_told(programs: Programs, tmp_path: Path) -> None:
    """That the app runs, that the monitor lives, that the end has begun; and the app knows nothing of it."""
    script = programs.write("app.py", "import os, time; print('pid', 'NOTIFY_SOCKET' in os.environ); time.sleep(600)")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(20)
        program = watch(
            programs, "--interval", "0.2", "--", sys.executable, str(script),
            NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="400000",
        )  # fmt: skip
        told: list[bytes] = []
        while told.count(b"WATCHDOG=1") < 3 or b"READY=1\nSTATUS=watching sick" not in told:
            told.append(systemd.recv(1000))
        program.wait_for_output("pid False")
        program.terminate()
        while b"STOPPING=1" not in told:
            told.append(systemd.recv(1000))
        assert program.wait() == 143


@at_once
def test_sigterm_drains_first(programs: Programs) -> None:
    """The file by which processes lower their readiness is there before SIGTERM is, for as long as is said."""
    program = signals_app(programs, "--drain", "1")
    began = time.monotonic()
    program.terminate()
    assert program.wait() == 7
    assert time.monotonic() - began >= 1
    assert "got SIGTERM True" in program.out


@at_once
def test_an_app_that_does_not_end_is_ended_by_force(programs: Programs) -> None:
    """After the grace, with all its children."""
    script = programs.write(
        "app.py",
        """
        import os, signal, subprocess, sys, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        print("pid", child.pid, flush=True)
        time.sleep(600)
        """,
    )
    program = watch(programs, "--grace", "0.5", "--", sys.executable, str(script))
    child = pid_in(program)
    program.terminate()
    assert program.wait() == 137
    assert gone_within(child, 5)


@at_once
def test_the_app_ends_in_order_when_the_monitor_is_killed(programs: Programs) -> None:
    """kill -9 of the monitor is SIGTERM to the app: what starts the monitor anew finds the port free."""
    program = signals_app(programs)
    pid = pid_in(program)
    program.process.kill()
    assert program.wait() == -9
    assert gone_within(pid, 10)
    assert "got SIGTERM" in program.out


@at_once
def test_an_app_that_runs_already_is_observed(programs: Programs) -> None:
    """Without a command nothing is done to it; the end of the monitor does not touch it."""
    app = programs.start(sys.executable, "-c", "import time; time.sleep(600)")
    program = watch(programs, "--interval", "0.1", "--memory-limit", "1MiB", "--attach", str(app.pid))
    program.wait_for_output("is not restarted any more, because watch has no command to start it with")
    assert "so it is observed, and not restarted" in program.err
    program.terminate()
    assert program.wait() == 0
    assert app.process.poll() is None


@at_once
def test_an_app_that_runs_already_is_started_anew_with_a_command(programs: Programs) -> None:
    """What was attached is ended, what the command starts takes its place."""
    app = programs.start(sys.executable, "-c", "import time; time.sleep(600)")
    script = programs.write("app.py", SAYS_SIGNALS)
    program = watch(
        programs, "--interval", "0.1", "--grace", "1", "--restarts", "1/600s", "--memory-limit", "1MiB",
        "--attach", str(app.pid), "--", sys.executable, str(script),
    )  # fmt: skip
    new = pid_in(program)
    assert app.process.wait(10) == -signal.SIGTERM
    program.wait_for_output("is not restarted any more, because restarts have not helped")
    assert not is_gone(new)  # it runs on, and somebody has been called
    program.terminate()
    assert program.wait() == 7


ASKS = """
    import threading, time
    from flask import Flask
    from otel_forge.health import heartbeat
    app, held = Flask("asks"), threading.Lock()
    held.acquire()
    @app.get("/ask")
    def ask():
        return str(heartbeat.request_restart("password=hunter2-secret, the app thinks it is down"))
    app.run(port=PORT, threaded=True)
"""


@at_once
def test_a_restart_that_the_app_asks_for_needs_evidence(programs: Programs) -> None:
    """Without any it is declined, with the reason."""
    from tests.otlp_receiver import free_port

    port = free_port()
    script = programs.write("app.py", ASKS.replace("PORT", str(port)))
    program = watch(programs, *QUICK, "--", sys.executable, str(script))
    assert get(f"http://127.0.0.1:{port}/ask") == (200, "True")
    program.wait_for_output("the app thinks it is down) and gets none: nothing hangs and every process has a heartbeat")
    assert "hunter2" not in program.err
    program.terminate()
    program.wait()
    assert incidents_in(programs.folder) == []


@at_once
def test_secrets_stay_out_of_incidents(programs: Programs) -> None:
    """Neither the command line nor the log nor the output brings one in."""
    logs = programs.folder / "logs"
    logs.mkdir()
    day = time.strftime("%Y-%m-%d", time.gmtime())
    line = json.dumps({"message": "Authorization: Bearer abcdef0123456789abcdef", "n": 1})
    (logs / f"sick-{day}.log").write_text(f"{line}\n" * 150)
    script = programs.write("app.py", "import sys; print('password=hunter2-secret'); sys.exit(3)")
    program = watch(
        programs, "--capture", "--restarts", "1/600s", "--", sys.executable, str(script), "--password=hunter2-secret",
        "--url=postgres://shop:hunter2-secret@db/shop", LOG_DIR=str(logs),
    )  # fmt: skip
    assert program.wait() == 3
    kept = [path for incident in incidents_in(programs.folder) for path in incident.iterdir()]
    assert {path.name for path in kept} == {"log.txt", "output.txt", "state.json"}
    texts = {path: path.read_text() for path in kept}
    assert [path for path, text in texts.items() if "hunter2" in text or "abcdef01" in text] == []
    assert {len(text.splitlines()) for path, text in texts.items() if path.name == "log.txt"} == {100}


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((), 2, "Which command? For example: otel-forge watch -- gunicorn shop:app"),
        (("--windows", "3/2", "--", "true"), 2, "'3/2' is not some out of so many, such as 2/3."),
        (("--memory-limit", "lots", "--", "true"), 2, "'lots' is not a size such as 256MiB, from 1MiB up."),
        (("--live-url", "localhost:8000", "--", "true"), 2, "'localhost:8000' is not an address such as"),
        (("--interval", "0", "--", "true"), 2, "0.0 is not in the range"),
        (("--", "no-such-program"), 127, "'no-such-program': no such command."),
        (("--attach", str(os.getpid())), 1, "watch itself was started by that process, and would end with it."),
        (("--attach", "999999999"), 1, "--attach 999999999: there is no process of yours with that id."),
    ],
)
def test_wrong_usage_is_explained(programs: Programs, words: tuple[str, ...], code: int, said: str) -> None:
    """With the exit code that the help names."""
    program = watch(programs, *words)
    assert program.wait() == code
    assert said in " ".join(program.err.split())


@at_once
def test_a_bad_setting_is_said_and_its_default_used(programs: Programs) -> None:
    """As everywhere: the variable, the value, what is allowed, what is used."""
    program = watch(programs, "--", "true", OTEL_FORGE_WATCH_WINDOWS="often", OTEL_FORGE_WATCH_CPU="900")
    assert program.wait() == 0
    assert (
        "OTEL_FORGE_WATCH_WINDOWS='often' is not some out of so many, such as 2/3; using the default (2/3)."
        in program.err.replace("using 2/3", "using the default (2/3)")
    )
    assert "OTEL_FORGE_WATCH_CPU='900' is not a number of percent above 0 to 100; using 80." in program.err
