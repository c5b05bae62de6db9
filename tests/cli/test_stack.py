"""The commands of the stack as a user meets them: what they print, where, and with which exit code."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
import requests
from click.testing import CliRunner

from otel_forge.cli import output
from otel_forge.cli.commands import main
from otel_forge.stack.backend import ComponentStatus, StackStatus
from otel_forge.version import VERSION
from tests.stack.bench import PROJECT, wait_for
from tests.stack.world import World


def forge(world: World, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run `otel-forge` as a user does, in a folder that is not the project's."""
    return subprocess.run(
        [sys.executable, "-m", "otel_forge.cli", *arguments],
        env={**world.environ, "PYTHONPATH": str(PROJECT), **environ},
        cwd=world.home,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def up(world: World) -> World:
    """A stack that `otel-forge up` has started."""
    world.install_engines()
    started = forge(world, "up", "--engine", "native", "--timeout", "60")
    assert started.returncode == 0, started.stderr
    return world


def test_up_tells_what_it_does_and_ends_with_addresses_and_the_next_command(world: World) -> None:
    """Progress goes to standard error, the outcome to standard output, with no control characters in either."""
    world.install_engines()
    done = forge(world, "up", "--engine", "native")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^otel-forge: prometheus is (starting|ready) \(\d+\.\d s\)$", done.stderr, re.MULTILINE)
    assert re.search(r"^otel-forge: collector is ready \(\d+\.\d s\)$", done.stderr, re.MULTILINE)
    assert "\x1b" not in done.stdout + done.stderr and "\r" not in done.stdout + done.stderr
    endpoint = f"http://127.0.0.1:{world.port('OTLP_HTTP')}"
    lines = done.stdout.splitlines()
    assert lines[0] == "The stack is up (engine native)."
    assert f"  OTLP over HTTP  {endpoint}" in lines
    assert f"  Prometheus      http://127.0.0.1:{world.port('PROMETHEUS')}" in lines
    assert f"  Loki            http://127.0.0.1:{world.port('LOKI')} (API)" in lines
    assert "Grafana is not on PATH" in done.stdout
    assert len([line for line in lines if line.startswith("  curl -sG http://127.0.0.1:")]) == 3
    assert lines[-2:] == [
        "Run next, in the folder of your app (`otel-forge run` instead of `opentelemetry-instrument` starts faster):",
        f"  OTEL_EXPORTER_OTLP_ENDPOINT={endpoint} opentelemetry-instrument python app.py",
    ]


def test_up_with_grafana_says_where_its_password_is(world: World) -> None:
    """And does not print the password itself."""
    world.install_engines()
    world.install_grafana()
    done = forge(world, "up", "--engine", "native")
    assert done.returncode == 0, done.stderr
    password = world.home / "state" / "grafana" / "admin-password"
    assert f"password in {password}" in done.stdout
    assert "curl" not in done.stdout
    assert password.read_text() not in done.stdout + done.stderr


def test_a_second_up_says_that_the_stack_runs(up: World) -> None:
    """Exit code 0, the same addresses, the same processes."""
    again = forge(up, "up")
    assert again.returncode == 0
    assert again.stdout.startswith("The stack was already running (engine native).\n")
    assert f"http://127.0.0.1:{up.port('LOKI')}" in again.stdout


def test_two_ups_at_the_same_time_both_succeed(world: World) -> None:
    """One starts the stack, the other says that it was running already."""
    world.install_engines()
    command = [sys.executable, "-m", "otel_forge.cli", "up", "--engine", "native"]
    environment = {**world.environ, "PYTHONPATH": str(PROJECT)}
    ups = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = sorted(up.communicate(timeout=60)[0].splitlines()[0] for up in ups)
    assert said == ["The stack is up (engine native).", "The stack was already running (engine native)."]
    assert [up.returncode for up in ups] == [0, 0]


def test_status_shows_every_component(up: World) -> None:
    """Exit code 0 while all is ready."""
    shown = forge(up, "status")
    assert shown.returncode == 0
    assert shown.stdout.startswith("The stack is running (engine native).\n")
    assert re.search(r"^loki +ready +\S+.* 0 +\d+$", shown.stdout, re.MULTILINE)


def test_status_is_to_be_had_as_json(up: World) -> None:
    """For scripts and for the tests to come."""
    shown = forge(up, "status", "--json")
    found = json.loads(shown.stdout)
    assert (found["status"], found["engine"]) == ("running", "native")
    assert {c["name"]: c["status"] for c in found["components"]}["tempo"] == "ready"
    assert found["addresses"]["OTLP over HTTP"] == f"http://127.0.0.1:{up.port('OTLP_HTTP')}"


def test_status_and_down_of_a_stack_that_does_not_run(world: World) -> None:
    """Not running is no error of `down`; `status` tells by its exit code."""
    shown = forge(world, "status")
    assert (shown.returncode, shown.stdout) == (3, "The stack is not running (engine native).\n")
    stopped = forge(world, "down")
    assert (stopped.returncode, stopped.stdout) == (0, "The stack was not running.\n")
    again = forge(world, "restart")
    assert (again.returncode, again.stderr) == (
        1,
        "Error: The stack is not running; `otel-forge up` starts it.\n",
    )


def test_down_stops_everything_in_reverse(up: World) -> None:
    """The order of the stops can be read."""
    done = forge(up, "down")
    assert (done.returncode, done.stdout) == (0, "The stack is down.\n")
    stopped = re.findall(r"^otel-forge: (\w+) has stopped", done.stderr, re.MULTILINE)
    assert len(stopped) == 5
    assert stopped.index("collector") < stopped.index("tempo") < stopped.index("prometheus")
    assert forge(up, "status").returncode == 3


def test_down_with_data_asks_first(up: World) -> None:
    """No answer is no."""
    data = up.home / "state" / "data"
    refused = forge(up, "down", "--data")
    assert refused.returncode == 1
    assert "Remove all stored telemetry" in refused.stdout
    assert forge(up, "status").returncode == 0
    assert forge(up, "down", "--data", "--yes").returncode == 0
    assert not data.exists()


def test_restart_of_one_component(up: World) -> None:
    """It is named in the answer."""
    done = forge(up, "restart", "tempo")
    assert (done.returncode, done.stdout) == (0, "Restarted: tempo.\n")
    unknown = forge(up, "restart", "nginx")
    assert unknown.returncode == 1
    assert unknown.stderr.startswith("Error: nginx is not a component here; there are alertmanager, prometheus")


def test_logs_end_without_complaint_when_the_reader_has_gone(up: World) -> None:
    """`otel-forge logs | head -1` is ordinary use."""
    for _ in range(3):
        requests.get(f"http://127.0.0.1:{up.port('LOKI')}/flood?3000", timeout=10)
    wait_for(lambda: "line 00002999" in (up.home / "state" / "logs" / "loki.log").read_text())
    command = f"{sys.executable} -m otel_forge.cli logs loki -n 9000 | head -1"
    environment = {**up.environ, "PYTHONPATH": str(PROJECT), "PATH": up.environ["PATH"] + ":/usr/bin:/bin"}
    read = subprocess.run(command, shell=True, env=environment, capture_output=True, text=True, timeout=60)
    assert read.stderr == ""
    assert len(read.stdout.splitlines()) == 1


def test_logs_follow_until_interrupted(up: World) -> None:
    """Ctrl-C ends it with the usual code and no traceback."""
    import signal

    command = [sys.executable, "-u", "-m", "otel_forge.cli", "logs", "-f", "-n", "1", "loki"]
    environment = {**up.environ, "PYTHONPATH": str(PROJECT)}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as following:
        assert following.stdout is not None and following.stderr is not None
        assert following.stdout.readline() == "loki starts\n"
        requests.get(f"http://127.0.0.1:{up.port('LOKI')}/log?followed", timeout=5)
        assert following.stdout.readline() == "followed\n"
        following.send_signal(signal.SIGINT)
        assert following.wait(timeout=10) == 130
        assert following.stderr.read() == ""


def test_logs_can_be_reduced_to_errors(up: World) -> None:
    """The last errors, however much was said since."""
    for text in ("level=error%20first", *["level=info"] * 5):
        requests.get(f"http://127.0.0.1:{up.port('LOKI')}/log?{text.replace('%20', '_')}", timeout=5)
    wait_for(lambda: (up.home / "state" / "logs" / "loki.log").read_text().count("level=info") == 5)
    assert forge(up, "logs", "loki", "--errors", "-n", "2").stdout == "level=error_first\n"


def test_errors_of_an_earlier_run_and_of_the_stop_are_not_shown(up: World) -> None:
    """After a restart the list begins anew; what is said meanwhile is no news."""
    requests.get(f"http://127.0.0.1:{up.port('LOKI')}/log?level=error_of_the_first_run", timeout=5)
    log = up.home / "state" / "logs" / "loki.log"
    wait_for(lambda: "level=error_of_the_first_run" in log.read_text())
    assert forge(up, "logs", "--errors").stdout.endswith("| level=error_of_the_first_run\n")
    assert forge(up, "restart", "loki").returncode == 0
    assert forge(up, "logs", "--errors").stdout == ""
    assert "level=error_of_the_first_run" in forge(up, "logs", "loki").stdout


def test_restart_with_a_changed_setting_is_refused(up: World) -> None:
    """Exit code 1, what differs, and what to do."""
    done = forge(up, "restart", OTEL_FORGE_RETENTION="3d")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "Error: The stack is already running, but not with what is asked for: "
        "OTEL_FORGE_RETENTION=3d (it runs with 15d). "
        "Run `otel-forge down` and then `otel-forge up` to change that.\n"
    )
    assert forge(up, "up", OTEL_FORGE_RETENTION_LOGS="24h").returncode == 1


def test_interrupting_up_leaves_nothing_running(world: World) -> None:
    """Ctrl-C while a component is not ready stops what was started."""
    import signal

    world.install_engines()
    slow = world.path_folder / "tempo"
    slow.write_text(slow.read_text().replace('"--port", port]', '"--port", port, "--silent"]'))
    command = [sys.executable, "-m", "otel_forge.cli", "up", "--engine", "native"]
    environment = {**world.environ, "PYTHONPATH": str(PROJECT)}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as starting:
        assert starting.stderr is not None
        for line in starting.stderr:
            if "tempo is starting" in line:
                break
        starting.send_signal(signal.SIGINT)
        starting.stderr.read()
        assert starting.wait(timeout=30) == 1
    assert not world.backend().folder.is_owned()
    wait_for(lambda: forge(world, "status").returncode == 3)


def test_a_bad_setting_is_one_line_and_exit_code_1(world: World) -> None:
    """No traceback."""
    done = forge(world, "up", OTEL_FORGE_PORT_LOKI="abc")
    assert done.returncode == 1
    assert done.stderr == "Error: OTEL_FORGE_PORT_LOKI='abc' is not a port from 1 to 65535.\n"


def test_a_state_folder_on_the_command_line_wins(world: World) -> None:
    """Over the environment's."""
    (world.home / "file").touch()
    done = forge(world, "up", "--engine", "native", "--state-dir", str(world.home / "file" / "x"))
    assert done.returncode == 1
    assert "file/x cannot be written (Not a directory)" in done.stderr


@pytest.mark.parametrize(
    "arguments", [["up", "--engine", "podman"], ["up", "--timeout", "0"], ["logs", "-n", "-1"], ["fly"], ["up", "now"]]
)
def test_wrong_usage_is_exit_code_2(arguments: list[str]) -> None:
    """As every Unix tool has it."""
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert "Error: " in result.output


def test_version_and_help() -> None:
    """Exit codes are in the help."""
    assert CliRunner().invoke(main, ["--version"]).output == f"otel-forge, version {VERSION}\n"
    assert "Exit codes:" in CliRunner().invoke(main, ["-h"]).output
    for command in ("up", "down", "status", "logs", "restart"):
        result = CliRunner().invoke(main, [command, "--help"])
        assert result.exit_code == 0
        assert "--state-dir" in result.output


def test_the_summaries_of_the_commands_are_not_cut() -> None:
    """On a terminal of 80 columns each fits on its line."""
    shown = CliRunner().invoke(main, ["--help"]).output
    assert "..." not in shown.partition("Commands:")[2]


ADDRESSES = {"Prometheus": "http://127.0.0.1:9090", "Loki": "http://127.0.0.1:3100", "Tempo": "http://127.0.0.1:3200"}


def test_without_grafana_there_are_queries_to_paste() -> None:
    """With the ports that are used, and for any app."""
    lines = output.up_text(StackStatus("native", "running", addresses=ADDRESSES))
    assert [line.strip() for line in lines if "curl" in line] == [
        "curl -sG http://127.0.0.1:9090/api/v1/query --data-urlencode "
        "'query=sum by (service_name, http_route) (rate(http_server_request_duration_seconds_count[5m]))'",
        "curl -sG http://127.0.0.1:3100/loki/api/v1/query_range --data-urlencode "
        """'query={service_name=~".+", service_name!="otelcol-forge"}'""",
        "curl -sG http://127.0.0.1:3200/api/search --data-urlencode "
        """'q={resource.service.name != "otelcol-forge"}'""",
    ]
    with_grafana = StackStatus("native", "running", addresses={**ADDRESSES, "Grafana": "http://127.0.0.1:3001"})
    assert not any("curl" in line for line in output.up_text(with_grafana))


def test_addresses_without_web_pages_are_marked() -> None:
    """Nobody should open a browser on them."""
    built = StackStatus("native", "running", addresses=ADDRESSES, api_only=["Prometheus", "Loki", "Tempo"])
    assert output.addresses_text(built) == [
        "  Prometheus  http://127.0.0.1:9090 (API)",
        "  Loki        http://127.0.0.1:3100 (API)",
        "  Tempo       http://127.0.0.1:3200 (API)",
    ]
    assert output.addresses_text(StackStatus("docker", "running", addresses=ADDRESSES))[0].endswith(":9090")


def test_the_documented_queries_are_those_that_up_prints() -> None:
    """In docs/stack.md, with the ports of nothing set."""
    documented = (PROJECT / "docs" / "stack.md").read_text()
    for line in output.queries_text(StackStatus("native", "running", addresses=ADDRESSES)):
        assert line.strip() in documented or not line.startswith("  ")


def test_the_next_command_names_the_endpoint_only_where_it_is_not_the_usual() -> None:
    """At 4318 every SDK finds it by itself."""
    usual = StackStatus("native", "running", addresses={"OTLP over HTTP": "http://127.0.0.1:4318"})
    assert output.up_text(usual)[-1] == "  opentelemetry-instrument python app.py"


def test_up_names_what_is_not_ready() -> None:
    """A second `up` may find a stack that is not well."""
    sick = StackStatus("native", "degraded", components=[ComponentStatus("loki", "failed")], already_running=True)
    assert "Not everything is ready: loki. See `otel-forge status` and `otel-forge logs`." in output.up_text(sick)


def test_ages_are_in_their_two_largest_units() -> None:
    """Short enough for a table."""
    assert [output.age(seconds) for seconds in (0, 59, 61, 3600, 90061)] == ["0s", "59s", "1m 1s", "1h", "1d 1h"]
