"""What shows log records: nothing of ours unless it is asked for, and never twice.

The rule. Without ``OTEL_FORGE_LOGS_VIEW`` or a call of `configure_logging` the application's logging is left as it
is. With it, one handler on the root logger shows every record, except those that a handler of the application's own
writes to the terminal: these are the application's. ``logging.basicConfig`` still does what it is asked for, but its
terminal handler, which would be a second one, gives way to ours. Handlers that write elsewhere always stay.
"""

from __future__ import annotations

import functools
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeAlias

from otel_forge import redaction
from otel_forge.logs import flood, upkeep
from otel_forge.logs.console_view import ConsoleView
from otel_forge.logs.describe import Describer
from otel_forge.logs.handlers import StreamLines, is_terminal
from otel_forge.logs.json_view import JsonView
from otel_forge.logs.levels import level_number
from otel_forge.notices import notice
from otel_forge.resource import service_name
from otel_forge.settings import LogViewSettings, Settings

ViewName: TypeAlias = Literal["auto", "console", "json"]
DEVELOPMENT = frozenset(("development", "dev", "local", "test", "testing"))


class CurrentPolicy:
    """Takes secrets out with the policy that is in force at the moment."""

    def text(self, text: str) -> str:
        """Return `text` without its secrets."""
        return redaction.policy().text(text)

    def value(self, key: str, value: Any) -> Any:
        """Return what may stand under `key`."""
        return redaction.policy().value(key, value)


def build_describer(settings: LogViewSettings, service: str, *, shows_pin: bool = False) -> Describer:
    """Return what describes the records of `service` for every view."""
    return Describer(service, CurrentPolicy(), longest=settings.longest, shows_pin=shows_pin)


def build_json_view(settings: LogViewSettings, service: str) -> JsonView:
    """Return the view for standard output in production, and for files."""
    return JsonView(build_describer(settings, service))


def build_view(name: str, settings: LogViewSettings, service: str) -> tuple[JsonView | ConsoleView, str]:
    """Return the view `name`, ``console`` or ``json``, and the stream that it belongs on."""
    if name == "json":
        return build_json_view(settings, service), "stdout"
    colour = _is_a_terminal(sys.stderr) if settings.colour is None else settings.colour
    return ConsoleView(build_describer(settings, service, shows_pin=True), colour=colour), "stderr"


def _is_a_terminal(stream: Any) -> bool:
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):  # none, or closed
        return False


def show(settings: Settings, service: str) -> None:
    """Show log records as the settings say: part of start-up."""
    views = settings.log_views
    _shown.show(_chosen(views.view, settings), views, service, views.level)


def configure_logging(*, level: int | str | None = None, view: ViewName | None = None, replace: bool = False) -> None:
    """Show log records as otel-forge writes them: aligned text in development, JSON lines in production.

    `level` (a name or a number; LOG_LEVEL, else INFO) becomes the root logger's. `view` is ``console`` (on standard
    error), ``json`` (on standard output) or ``auto``, which asks OTEL_FORGE_LOGS_VIEW and then the environment (see
    ``docs/logging.md``). Handlers that the application has put on the root logger keep what they show; with `replace`
    those that write to the terminal are taken off first. Calling it again changes what the first call chose.
    Raises ValueError for a level or a view that does not exist.
    """
    settings = Settings.from_env(os.environ)
    if isinstance(level, str):
        level_number(level)
    asked = view or settings.log_views.view
    if asked not in ("off", "auto", "console", "json"):
        raise ValueError(f"view={view!r} is not one of auto, console, json.")
    if not redaction.is_chosen():  # nobody has set up telemetry, which says these things and goes by them
        for problem in settings.problems:
            notice(problem)
        redaction.install_from(settings.redaction)
    if replace:
        _take_off(logging.getLogger(), _terminal_handlers(logging.getLogger()))
    service = upkeep.service() or service_name(settings, sys.orig_argv, Path.cwd()).name
    wanted = settings.log_views.level if level is None else str(level)
    _shown.show(_chosen("auto" if asked == "off" else asked, settings), settings.log_views, service, wanted)
    if _terminal_handlers(logging.getLogger()):
        notice(
            "the root logger has a handler of its own for the terminal, which goes on showing what it shows; "
            "configure_logging(replace=True) takes its place."
        )


def unconfigure_logging() -> None:
    """Put logging back as it was before anything of ours showed records."""
    _shown.undo()


def _chosen(asked: str, settings: Settings) -> str:
    if asked != "auto":
        return asked
    return "console" if settings.environment.lower() in DEVELOPMENT else "json"


class _Shown:
    """The handler of ours on the root logger, and what was changed for it."""

    def __init__(self) -> None:
        self.handler: StreamLines | None = None
        self._basic_config: Callable[..., None] | None = None
        self._level: int | None = None

    def show(self, name: str, settings: LogViewSettings, service: str, level: str) -> None:
        """Show every record by one handler on the root logger, and only one."""
        view, stream = build_view(name, settings, service)
        root = logging.getLogger()
        if self.handler is not None:
            root.removeHandler(self.handler)
        self.handler = StreamLines(view, stream, flood=flood.current())
        self._set_level(root, level)
        root.addHandler(self.handler)
        _take_off_defaults()
        if self._basic_config is None:
            self._basic_config = logging.basicConfig
            logging.basicConfig = self._in_place_of(self._basic_config)

    def _set_level(self, root: logging.Logger, level: str) -> None:
        number = _level_or_none(level)
        if number is None and (root.level != logging.WARNING or _terminal_handlers(root)):
            return  # the application has chosen one
        self._level = root.level if self._level is None else self._level
        root.setLevel(logging.INFO if number is None else number)

    def _in_place_of(self, original: Callable[..., None]) -> Callable[..., None]:
        """Return a ``logging.basicConfig`` that finds the root logger without our handler, and leaves it with it."""

        @functools.wraps(original)
        def basic_config(**options: Any) -> None:
            root, ours = logging.getLogger(), self.handler
            if ours is None or ours not in root.handlers:
                return original(**options)
            root.removeHandler(ours)
            before = _terminal_handlers(root)
            try:
                return original(**options)
            finally:
                _take_off(root, [handler for handler in _terminal_handlers(root) if handler not in before])
                root.addHandler(ours)

        return basic_config

    def undo(self) -> None:
        """Put everything back."""
        root = logging.getLogger()
        if self.handler is not None:
            root.removeHandler(self.handler)
        if self._basic_config is not None:
            logging.basicConfig = self._basic_config
        if self._level is not None:
            root.setLevel(self._level)
        self.handler = self._basic_config = self._level = None


def _level_or_none(level: str) -> int | None:
    """Return the level of that name; one that does not exist is said, and is none."""
    if not level:
        return None
    try:
        return level_number(level)
    except ValueError:
        notice(f"LOG_LEVEL={level!r} is not a level such as info or 20; using the default.")
        return None


def _terminal_handlers(logger: logging.Logger) -> list[logging.Handler]:
    return [handler for handler in logger.handlers if not isinstance(handler, StreamLines) and is_terminal(handler)]


def _take_off(logger: logging.Logger, handlers: list[logging.Handler]) -> None:
    for handler in handlers:
        logger.removeHandler(handler)


def _take_off_defaults() -> None:
    """Take off the handlers that Flask and werkzeug give themselves where nobody else shows their records."""
    flask = getattr(sys.modules.get("flask.logging"), "default_handler", None)
    loggers = [
        logger for logger in list(logging.Logger.manager.loggerDict.values()) if isinstance(logger, logging.Logger)
    ]
    for logger in loggers:
        defaults = [handler for handler in logger.handlers if handler is flask or _is_werkzeugs(handler)]
        _take_off(logger, defaults)


def _is_werkzeugs(handler: logging.Handler) -> bool:
    return type(handler).__module__ == "werkzeug._internal"


_shown = _Shown()
