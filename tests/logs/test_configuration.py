"""What shows log records: nothing unless asked for, never twice, and never in the place of the application's own."""

from __future__ import annotations

import functools
import io
import json
import logging
import logging.config
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from otel_forge.logs import flood
from otel_forge.logs.configuration import configure_logging, unconfigure_logging
from otel_forge.logs.context import log_context
from otel_forge.logs.logger import get_logger
from otel_forge.logs.upkeep import install, uninstall
from otel_forge.settings import Settings
from tests.programs import Programs

Streams = tuple[io.StringIO, io.StringIO]


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def streams(monkeypatch: pytest.MonkeyPatch) -> Streams:
    """What stands for standard output and standard error, and none of the variables that matter."""
    for name in ("LOG_LEVEL", "APP_ENV", "FLASK_ENV", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    return Terminal(), Terminal()


def in_a_plain_process(test: Callable[..., None]) -> Callable[..., None]:
    """Run `test` with a root logger as Python starts with and with its streams, inside of what pytest does to both."""

    @functools.wraps(test)
    def run(*, streams: Streams, **fixtures: Any) -> None:
        root, stdout, stderr, basic_config = logging.getLogger(), sys.stdout, sys.stderr, logging.basicConfig
        handlers, level = list(root.handlers), root.level
        root.handlers.clear()
        root.setLevel(logging.WARNING)
        sys.stdout, sys.stderr = streams
        try:
            test(streams=streams, **fixtures)
            uninstall()
            unconfigure_logging()
            assert logging.basicConfig is basic_config
        finally:
            uninstall()
            unconfigure_logging()
            root.handlers[:] = handlers
            root.setLevel(level)
            sys.stdout, sys.stderr = stdout, stderr

    return run


@pytest.mark.parametrize(
    ("environment", "stream"),
    [
        ({}, "err"),
        ({"FLASK_ENV": "development"}, "err"),
        ({"APP_ENV": "test"}, "err"),
        ({"APP_ENV": "production"}, "out"),
        ({"FLASK_ENV": "production"}, "out"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=staging", "APP_ENV": "development"}, "out"),
        ({"APP_ENV": "production", "OTEL_FORGE_LOGS_VIEW": "console"}, "err"),
    ],
)
@in_a_plain_process
def test_the_environment_chooses_the_view(
    monkeypatch: pytest.MonkeyPatch, streams: Streams, environment: dict[str, str], stream: str
) -> None:
    """Development is coloured text on standard error, everything else that has a name JSON on standard output."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    configure_logging()
    get_logger("shop").info("Loading asset", asset_id="123")
    out, err = (stream.getvalue() for stream in streams)
    if stream == "out":
        assert json.loads(out)["data"] == {"asset_id": "123"} and err == ""
    else:
        assert "Loading asset" in err and "\x1b[" in err and out == ""


@pytest.mark.parametrize(
    ("environment", "coloured"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, False)],
)
@in_a_plain_process
def test_colours_can_be_refused(
    monkeypatch: pytest.MonkeyPatch, streams: Streams, environment: dict[str, str], coloured: bool
) -> None:
    """A terminal has them unless NO_COLOR is there."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    configure_logging()
    get_logger("shop").info("hello")
    assert ("\x1b[" in streams[1].getvalue()) == coloured


@pytest.mark.parametrize(("forced", "coloured"), [("", False), ("0", False), ("1", True)])
@in_a_plain_process
def test_colours_can_be_forced(monkeypatch: pytest.MonkeyPatch, streams: Streams, forced: str, coloured: bool) -> None:
    """A pipe has none unless FORCE_COLOR is there."""
    stream = sys.stderr = io.StringIO()
    monkeypatch.setenv("FORCE_COLOR", forced)
    configure_logging(view="console")
    get_logger("shop").info("hello")
    assert ("\x1b[" in stream.getvalue()) == coloured


@in_a_plain_process
def test_levels(monkeypatch: pytest.MonkeyPatch, streams: Streams) -> None:
    """LOG_LEVEL, then INFO; an argument wins; a wrong LOG_LEVEL is said, a wrong argument raises."""
    root = logging.getLogger()
    configure_logging()
    assert root.level == logging.INFO
    for text, level in (("debug", 10), ("WARN", 30), ("35", 35), ("Fatal", 50)):
        monkeypatch.setenv("LOG_LEVEL", text)
        configure_logging()
        assert root.level == level
    configure_logging(level="error")
    assert root.level == logging.ERROR
    monkeypatch.setenv("LOG_LEVEL", "loud")
    configure_logging()
    assert "LOG_LEVEL='loud' is not a level" in streams[1].getvalue() and root.level == logging.ERROR
    with pytest.raises(ValueError, match="loud"):
        configure_logging(level="loud")
    with pytest.raises(ValueError, match="view='xml'"):
        configure_logging(view="xml")  # type: ignore[arg-type]


@in_a_plain_process
def test_a_level_that_the_application_has_chosen_stays(streams: Streams) -> None:
    """Unless LOG_LEVEL or an argument says otherwise."""
    logging.getLogger().setLevel(logging.DEBUG)
    configure_logging()
    assert logging.getLogger().level == logging.DEBUG


@in_a_plain_process
def test_the_second_call_replaces_the_first(streams: Streams) -> None:
    """There is never more than one handler of ours."""
    configure_logging(view="console")
    configure_logging(view="json")
    get_logger("shop").info("once")
    assert (streams[0].getvalue().count("once"), streams[1].getvalue()) == (1, "")


@in_a_plain_process
def test_handlers_of_the_application_are_not_doubled(streams: Streams) -> None:
    """What they show they go on showing, and it is said how to change that; `replace` changes it."""
    logging.basicConfig(format="theirs: %(message)s", level=logging.INFO)
    configure_logging(view="console")
    get_logger("shop").info("hello")
    assert "theirs: hello\n" in streams[1].getvalue() and streams[1].getvalue().count("hello") == 1
    assert "configure_logging(replace=True)" in streams[1].getvalue()
    configure_logging(view="console", replace=True)
    get_logger("shop").info("again")
    assert "theirs: again" not in streams[1].getvalue() and streams[1].getvalue().count("again") == 1


@in_a_plain_process
def test_basic_config_still_does_what_it_is_asked_for(streams: Streams, tmp_path: Path) -> None:
    """Its level and its file stay; its terminal handler would be a second one."""
    configure_logging(view="console")
    logging.basicConfig(level=logging.DEBUG, format="theirs: %(message)s")
    get_logger("shop").debug("one")
    assert logging.getLogger().level == logging.DEBUG
    assert streams[1].getvalue().count("one") == 1 and "theirs" not in streams[1].getvalue()
    logging.basicConfig(filename=tmp_path / "app.log", format="theirs: %(message)s")
    get_logger("shop").info("two")
    logging.getLogger().handlers[0].close()
    assert (tmp_path / "app.log").read_text() == "theirs: two\n"
    assert streams[1].getvalue().count("two") == 1


@in_a_plain_process
def test_a_configuration_of_the_applications_own_wins(streams: Streams) -> None:
    """dictConfig of the root logger puts its handlers in the place of ours."""
    configure_logging(view="console")
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"f": {"format": "theirs: %(message)s"}},
            "handlers": {"h": {"class": "logging.StreamHandler", "formatter": "f"}},
            "root": {"handlers": ["h"], "level": "INFO"},
        }
    )
    get_logger("shop").info("hello")
    assert streams[1].getvalue() == "theirs: hello\n"


@in_a_plain_process
def test_flasks_own_handlers_give_way(streams: Streams) -> None:
    """Those that Flask and werkzeug give themselves where nobody else shows their records."""
    from flask import Flask
    from werkzeug import _internal

    app = Flask("flaskapp")
    app.logger.setLevel(logging.INFO)
    assert app.logger.handlers
    monkey = logging.getLogger("werkzeug")
    before = list(monkey.handlers)
    monkey.addHandler(_internal._ColorStreamHandler())
    try:
        configure_logging(view="console")
        app.logger.info("from flask")
        monkey.warning("from werkzeug")
    finally:
        monkey.handlers[:] = before
    text = streams[1].getvalue()
    assert (text.count("from flask"), text.count("from werkzeug")) == (1, 1) and not app.logger.handlers


@pytest.mark.parametrize("view", ["console", "json"])
@in_a_plain_process
def test_secrets_are_taken_out_of_every_view(streams: Streams, view: Any) -> None:
    """Fields by their name, nested ones too; messages, arguments, errors and context fields by what they look like."""
    token = "ghp_" + "a1B2" * 9
    configure_logging(view=view)
    with log_context(where=f"https://user:{token}@host/"):
        error = ValueError(f"bad token {token}")
        get_logger("shop").error(
            f"sent {token} %s", token, exc_info=error, password="hunter22", nested={"api_key": ["hunter22"]}, note=token
        )
    text = "".join(stream.getvalue() for stream in streams)
    assert "sent [REDACTED" in text and "nested" in text
    assert [secret for secret in (token, "hunter22") if secret in text] == []


@pytest.mark.parametrize(("view", "shown"), [("console", "123-456-789"), ("json", "[REDACTED:password]")])
@in_a_plain_process
def test_the_pin_of_werkzeugs_debugger_is_for_the_terminal(streams: Streams, view: Any, shown: str) -> None:
    """The developer has to type it; every other PIN, and this one anywhere else, is taken out."""
    configure_logging(view=view)
    logging.getLogger("werkzeug").warning(" * Debugger PIN: %s", "123-456-789")
    get_logger("shop").info(" * Debugger PIN: %s", "987-654-321")
    text = "".join(stream.getvalue() for stream in streams)
    assert f" * Debugger PIN: {shown}" in text and " * Debugger PIN: [REDACTED:password]" in text
    assert "987-654-321" not in text


@in_a_plain_process
def test_start_up_shows_nothing_unless_asked(streams: Streams) -> None:
    """The application's logging stays as it is."""
    install(Settings.from_env({"OTEL_FORGE_LOGS_LEVELS": "false"}), "shop")
    assert logging.getLogger().handlers == []


@in_a_plain_process
def test_start_up_sets_up_what_the_settings_ask_for(streams: Streams) -> None:
    """View, level and flood control, with the service's name on each record."""
    environ = {"OTEL_FORGE_LOGS_VIEW": "json", "LOG_LEVEL": "debug", "OTEL_FORGE_LOGS_FLOOD": "2/60s"}
    install(Settings.from_env({**environ, "OTEL_FORGE_LOGS_LEVELS": "false"}), "shop")
    for number in range(5):
        get_logger("till").debug("n %d", number)
    flood.say_what_is_left()
    read = [json.loads(line) for line in streams[0].getvalue().splitlines()]
    assert [entry["message"] for entry in read] == ["n 0", "n 1", "n %d … 3 more of this in 0 s"]
    assert {entry["service"] for entry in read} == {"shop"}


def test_a_started_program_shows_json_and_basic_config_adds_nothing(programs: Programs) -> None:
    """The whole way: settings in the environment, an application that knows nothing of us."""
    script = programs.write(
        "plain.py",
        """
        import logging
        logging.basicConfig(level=logging.INFO, format="theirs %(message)s")
        logging.getLogger("plain").info("sold %s", "bread", extra={"till": 7})
        """,
    )
    program = programs.instrumented(
        sys.executable,
        str(script),
        OTEL_SERVICE_NAME="shop",
        OTEL_FORGE_LOGS_VIEW="json",
        OTEL_TRACES_EXPORTER="none",
        OTEL_METRICS_EXPORTER="none",
        OTEL_LOGS_EXPORTER="none",
    )
    assert program.wait() == 0
    [entry] = [json.loads(line) for line in program.out.splitlines()]
    assert (entry["message"], entry["data"], entry["service"]) == ("sold bread", {"till": 7}, "shop")
    assert "theirs" not in program.err
