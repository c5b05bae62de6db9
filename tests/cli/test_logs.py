"""`otel-forge logs` as a user meets it: services' files and the stack's components in one command."""

from __future__ import annotations

import gzip
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from threading import Timer

import pytest
import requests
from click.testing import CliRunner, Result

from otel_forge.cli.commands import main
from otel_forge.logs.files.names import day_of
from otel_forge.logs.files.sink import DailyFile
from tests.cli.test_stack import forge, up
from tests.stack.bench import PROJECT, wait_for
from tests.stack.world import World

__all__ = ["up"]

TRACE = "0af7651916cd43dd8448eb211c80319c"
START = datetime(2026, 11, 22, 10, tzinfo=timezone.utc)


def entry(second: int, message: str, level: str = "INFO", **more: object) -> str:
    """Return a line as our JSON view writes it."""
    stamp = (START + timedelta(seconds=second)).strftime("%Y-%m-%dT%H:%M:%S.000000Z")
    fields = {"timestamp": stamp, "level": level, "context": "AssetService", "message": message, **more}
    return json.dumps(fields, separators=(",", ":"))


def shown(second: int, message: str, level: str = "INFO ") -> str:
    """Return how the console view writes such a line."""
    stamp = (START + timedelta(seconds=second)).strftime("%Y-%m-%dT%H:%M:%S.000000Z")
    return f"{stamp} {level} AssetService {message}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Log files of two services: set aside and packed, written to, and one that logrotate renamed."""
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "shop-2026-11-22.1.log.gz").write_bytes(
        gzip.compress(f"{entry(0, 'first')}\n{entry(2, 'third')}\n".encode())
    )
    error = {"name": "KeyError", "message": "'x'", "stack": "Traceback (most recent call last):\nKeyError: 'x'"}
    failed = entry(4, "failed", "ERROR", data={"asset_id": "7"}, error=error, trace_id=TRACE)
    (logs / "shop-2026-11-22.log").write_text(f"{failed}\nplain \x1b[31mtext\n")
    (logs / "image-server-2026-11-22.log.1").write_text(f"{entry(1, 'second')}\n")
    (logs / "image-server-2026-11-22.log").write_text(f"{entry(3, 'fourth', trace_id=TRACE)}\n")
    return logs


def logs(folder: Path, *arguments: str, **options: str) -> Result:
    """Run `otel-forge logs` for a folder, with no stack anywhere."""
    environ = {"LOG_DIR": str(folder), "OTEL_FORGE_STATE_DIR": str(folder.parent / "state"), "NO_COLOR": "1"}
    return CliRunner().invoke(main, ["logs", *arguments], env=environ, **options)  # type: ignore[arg-type]


def test_one_service_is_shown_as_on_a_terminal(folder: Path) -> None:
    """Across its files, tracebacks below their lines, and what is not ours as text that cannot steer the terminal."""
    result = logs(folder, "shop")
    assert result.exit_code == 0, result.output
    assert result.output.splitlines() == [
        shown(0, "first"),
        shown(2, "third"),
        shown(4, f"{'failed':<32} asset_id=7 trace_id={TRACE}", "ERROR"),
        "    Traceback (most recent call last):",
        "    KeyError: 'x'",
        "plain \\x1b[31mtext",
    ]


def test_several_services_are_merged_by_time(folder: Path) -> None:
    """With their names in front; all there are when none is named."""
    lines = logs(folder).output.splitlines()
    assert lines[:4] == [
        f"shop         | {shown(0, 'first')}",
        f"image-server | {shown(1, 'second')}",
        f"shop         | {shown(2, 'third')}",
        f"image-server | {shown(3, f'fourth{26 * chr(32)} trace_id={TRACE}')}",
    ]
    assert [line[:13] for line in lines[4:]] == ["shop         "] * 4
    assert logs(folder, "image-server", "shop").output.splitlines() == lines


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["-n", "2"], ["second", "fourth", "failed", "plain \x1b[31mtext"]),
        (["--lines", "0"], []),
        (["--err"], ["failed"]),
        (["--errors"], ["failed"]),
        (["--trace", TRACE.upper()], ["fourth", "failed"]),
        (["--grep", "fi.st|th$"], ["first", "fourth"]),
        (["--grep", "asset_id.*7"], ["failed"]),
        (["--since", "2026-11-22T10:00:03Z"], ["fourth", "failed", "plain \x1b[31mtext"]),
        (["--since", "2026-11-22T10:00:03Z", "-n", "1", "--trace", TRACE], ["fourth", "failed"]),
        (["shop", "--since", "2026-11-22T10:00:03Z", "--err"], ["failed"]),
        (["show", "shop", "-n", "1"], ["plain \x1b[31mtext"]),
        (["-n", "1", "show", "shop"], ["plain \x1b[31mtext"]),
        (["--since=2026-11-22", "--err", "show"], ["failed"]),
    ],
)
def test_lines_can_be_chosen(folder: Path, arguments: list[str], expected: list[str]) -> None:
    """And printed as JSON, one object a line, whatever the line was."""
    result = logs(folder, *arguments, "--json")
    assert result.exit_code == 0, result.output
    assert "\x1b" not in result.output
    assert [json.loads(line)["message"] for line in result.output.splitlines()] == expected


def test_with_since_all_lines_are_shown(tmp_path: Path) -> None:
    """Without it the last 100."""
    (tmp_path / "shop-2026-11-22.log").write_text("".join(f"{entry(n, f'm{n}')}\n" for n in range(250)))
    assert len(logs(tmp_path, "shop").output.splitlines()) == 100
    assert len(logs(tmp_path, "shop", "--since", "2026-11-22").output.splitlines()) == 250
    ago = f"{(datetime.now(timezone.utc) - START).total_seconds() - 200:.0f}s"
    assert 45 <= len(logs(tmp_path, "shop", "--since", ago).output.splitlines()) <= 50


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--since", "yesterday"], "'yesterday' is no time: a duration such as 30s, 10m, 2h, 7d, or ISO 8601"),
        (["--grep", "("], "'(' is no regular expression: missing )"),
        (["--trace", "abc"], "'abc' is no trace id, which is 32 hexadecimal digits."),
        (["nginx"], "nginx has no log files in {folder} (there are image-server, shop; --dir or LOG_DIR names"),
        (["rotate", "nginx"], "nginx has no log files in {folder} (there are image-server, shop)."),
        (["flush", "nginx"], "nginx has no log files in {folder} (there are image-server, shop)."),
        (["--dir", "{folder}/none"], "There are no log files in {folder}/none."),
        (
            ["--dir", "{folder}", "rotate", "nginx"],
            "nginx has no log files in {folder} (there are image-server, shop).",
        ),
        (
            ["shop", "rotate"],
            "rotate has no log files in {folder} (there are image-server, shop; --dir or LOG_DIR names",
        ),
        (["--dir", "{folder}/shop-2026-11-22.log"], "{folder}/shop-2026-11-22.log cannot be read (Not a directory)."),
    ],
)
def test_bad_input_is_explained(folder: Path, arguments: list[str], message: str) -> None:
    """On standard error, with exit code 1 and no traceback."""
    result = logs(folder, *[argument.format(folder=folder) for argument in arguments])
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"Error: {message.format(folder=folder)}" in result.stderr


def test_a_file_that_cannot_be_read_is_named(folder: Path) -> None:
    """A folder in its place, here; more often it is somebody else's."""
    (folder / "shop-2026-11-23.1.log").mkdir()
    result = logs(folder, "shop")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"Error: {folder} cannot be read (Is a directory).\n"


def test_where_nothing_was_logged_it_is_said(tmp_path: Path) -> None:
    """No services, no stack."""
    result = logs(tmp_path / "none")
    assert result.exit_code == 1
    assert result.stderr == (
        f"Error: There are no log files in {tmp_path}/none, and the stack has logged nothing; has it been started?\n"
    )


@pytest.mark.parametrize("arguments", [["rotate"], ["flush"], ["-n", "many"], ["--dir"]])
def test_wrong_usage_is_exit_code_2(folder: Path, arguments: list[str]) -> None:
    """As of every command."""
    assert logs(folder, *arguments).exit_code == 2


def test_the_help_has_the_options_and_the_other_commands(folder: Path) -> None:
    """Though they belong to a command that nobody has to name."""
    help_text = logs(folder, "--help").output
    for part in ("--follow", "--since", "--grep", "--trace", "--err", "--json", "--dir", "rotate", "flush", "level"):
        assert part in help_text
    assert "..." not in help_text.partition("Commands:")[2]


def test_the_default_folder_is_logs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the working folder, where LOG_DIR says nothing."""
    monkeypatch.chdir(folder.parent)
    monkeypatch.delenv("LOG_DIR", raising=False)
    environ = {"OTEL_FORGE_STATE_DIR": str(folder.parent / "state")}
    result = CliRunner().invoke(main, ["logs", "image-server", "-n", "1", "--json"], env=environ)
    assert json.loads(result.output)["message"] == "fourth"


def test_options_may_stand_before_the_command(folder: Path) -> None:
    """`show` and the others are commands there, too; a service of such a name comes after `show`."""
    assert logs(folder / "none", "--dir", str(folder), "show", "shop").output == logs(folder, "shop").output
    (folder / "show-2026-11-22.log").write_text("of the service show\n")
    assert logs(folder, "--dir", str(folder), "show", "show").output == "of the service show\n"
    assert logs(folder, "--dir", str(folder), "rotate", "shop").output == "Set aside: shop-2026-11-22.log.\n"
    refused = logs(folder, "--lines", "3", "rotate", "shop")
    assert (refused.exit_code, "--lines" in refused.stderr) == (2, True)


def test_the_default_folder_is_named_with_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`logs` alone could be any."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LOG_DIR", raising=False)
    environ = {"OTEL_FORGE_STATE_DIR": str(tmp_path / "state")}
    for arguments in (["shop"], []):
        result = CliRunner().invoke(main, ["logs", *arguments], env=environ)
        assert f"log files in {tmp_path}/logs" in result.stderr


def test_rotate_sets_the_written_file_aside(folder: Path) -> None:
    """And packs it; the second time there is nothing to do."""
    assert logs(folder, "rotate", "shop").output == "Set aside: shop-2026-11-22.log.\n"
    assert sorted(path.name for path in folder.glob("shop-*")) == [
        "shop-2026-11-22.1.log.gz",
        "shop-2026-11-22.2.log.gz",
    ]
    assert logs(folder, "rotate", "shop").output == "shop has written nothing since the last time.\n"
    assert len(logs(folder, "shop").output.splitlines()) == 6


def test_flush_asks_first(folder: Path) -> None:
    """No answer is no; other services keep theirs."""
    refused = logs(folder, "flush", "shop")
    assert refused.exit_code == 1
    assert f"Remove all log files of shop in {folder}?" in refused.output
    assert len(list(folder.glob("shop-*"))) == 2
    assert logs(folder, "flush", "shop", "--yes").output == "Removed 2 log files of shop, 0.0 MB.\n"
    assert sorted(path.name for path in folder.glob("*.log*")) == [
        "image-server-2026-11-22.log",
        "image-server-2026-11-22.log.1",
    ]


def test_the_commands_of_the_docs_work(folder: Path) -> None:
    """Each as it stands there; those that follow are tested below."""
    page = (PROJECT / "docs/log-files.md").read_text()
    commands = [
        line.partition("#")[0].split("logs", 1)[1] for line in page.splitlines() if line.startswith("    otel-forge")
    ]
    assert len(commands) == 11
    for arguments in map(shlex.split, commands):
        if "-f" not in arguments:
            assert logs(folder, *arguments).exit_code == 0, arguments


class Following:
    """A running `otel-forge logs --follow`."""

    def __init__(self, environ: dict[str, str], *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-u", "-m", "otel_forge.cli", "logs", "-f", *arguments],
            env={**environ, "PYTHONPATH": str(PROJECT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._guard = Timer(60, self.process.kill)
        self._guard.start()

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def interrupt(self) -> tuple[int, str]:
        """Press Ctrl-C; return the exit code and what was complained about."""
        assert self.process.stderr is not None and self.process.stdout is not None
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(timeout=10)
        complaints = self.process.stderr.read()
        self.close()
        return code, complaints

    def close(self) -> None:
        self._guard.cancel()
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()


@pytest.fixture
def today(folder: Path) -> Iterator[DailyFile]:
    """The file that the service shop writes to now, which is set aside every few lines."""
    file = DailyFile(folder, "shop", 400)
    yield file
    file.close()


def test_follow_survives_rotation_and_flush(folder: Path, today: DailyFile) -> None:
    """Every line once, whatever becomes of the files; Ctrl-C ends it without complaint."""
    environ = {**os.environ, "LOG_DIR": str(folder), "OTEL_FORGE_STATE_DIR": str(folder / "state")}
    following = Following(environ, "shop", "-n", "1", "--json")
    try:
        assert json.loads(following.line())["message"] == "plain \x1b[31mtext"
        for number in range(20):
            today.append(entry(10, f"line {number}").encode() + b"\n")
        assert [json.loads(following.line())["message"] for _ in range(20)] == [
            f"line {number}" for number in range(20)
        ]
        assert len(list(folder.glob(f"shop-{day_of(time.time())}.*.log"))) > 3
        assert logs(folder, "rotate", "shop").exit_code == 0
        today.append(entry(11, "after rotate").encode() + b"\n")
        assert json.loads(following.line())["message"] == "after rotate"
        assert logs(folder, "flush", "shop", "--yes").exit_code == 0
        today.append(entry(12, "after flush").encode() + b"\n")
        assert json.loads(following.line())["message"] == "after flush"
        assert following.interrupt() == (130, "")
    finally:
        following.close()


def test_the_stack_and_services_in_one_view(up: World, folder: Path) -> None:
    """Components named, services named, or everything there is."""
    requests.get(f"http://127.0.0.1:{up.port('LOKI')}/log?level=error_of_loki", timeout=5)
    wait_for(lambda: "error_of_loki" in (up.home / "state" / "logs" / "loki.log").read_text())
    both = forge(up, "logs", "loki", "shop", "--errors", LOG_DIR=str(folder), NO_COLOR="1").stdout.splitlines()
    assert "loki | level=error_of_loki" in both
    assert f"shop | {shown(4, f'failed{26 * chr(32)} asset_id=7 trace_id={TRACE}', 'ERROR')}" in both
    everything = forge(up, "logs", LOG_DIR=str(folder)).stdout
    assert {line.partition("|")[0].strip() for line in everything.splitlines()} >= {"loki", "tempo", "shop"}
    found = forge(up, "logs", "loki", "--grep", "error_of", "--json").stdout
    assert [json.loads(line) for line in found.splitlines()] == [{"service": "loki", "message": "level=error_of_loki"}]
    assert forge(up, "logs", "shop", "-n", "1", LOG_DIR=str(folder)).stdout == "plain \\x1b[31mtext\n"


def test_the_stack_and_a_service_are_followed_together(up: World, folder: Path, today: DailyFile) -> None:
    """Each line with its source in front."""
    following = Following({**up.environ, "LOG_DIR": str(folder)}, "loki", "shop", "--grep", "followed")
    try:
        deadline = time.monotonic() + 30
        seen: set[str] = set()
        requests.get(f"http://127.0.0.1:{up.port('LOKI')}/log?followed_before", timeout=5)
        wait_for(lambda: "followed_before" in (up.home / "state" / "logs" / "loki.log").read_text())
        today.append(b"followed too\n")
        while seen < {"loki | followed_before", "shop | followed too"} and time.monotonic() < deadline:
            seen.add(following.line())
        requests.get(f"http://127.0.0.1:{up.port('LOKI')}/log?followed_after", timeout=5)
        assert following.line() == "loki | followed_after"
        assert following.interrupt() == (130, "")
    finally:
        following.close()
