"""`get_logger`: the standard library's logger, with fields as keywords.

``get_logger("AssetService")`` speaks through ``logging.getLogger("AssetService")``: levels, handlers and filters are
those of the standard library, and every formatter shows the file and the line of the caller.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from types import TracebackType
from typing import Any, TypeAlias

from otel_forge.logs.record import FIELDS

ExcInfo: TypeAlias = (
    bool
    | BaseException
    | tuple[type[BaseException], BaseException, TracebackType | None]
    | tuple[None, None, None]
    | None
)
_RESERVED = frozenset(vars(logging.makeLogRecord({}))) | {"asctime", "message"}
_BEYOND_OURS = 2  # frames up from logging's own: this module's method, then the caller


class ForgeLogger:
    """A logger with fields.

    Every method takes a message, arguments for its ``%`` signs, and any keywords as fields. Only `exc_info`,
    `stack_info`, `stacklevel` and `extra` mean what they mean in the standard library.
    """

    __slots__ = ("_fields", "logger")

    def __init__(self, logger: logging.Logger, fields: Mapping[str, Any] | None = None) -> None:
        self.logger = logger
        self._fields = dict(fields or {})

    @property
    def name(self) -> str:
        """The name of the logger: the context of its records."""
        return self.logger.name

    def bind(self, /, **fields: Any) -> ForgeLogger:
        """Return a logger of the same name that adds `fields` to each of its records."""
        return ForgeLogger(self.logger, {**self._fields, **fields})

    def unbind(self, /, *names: str) -> ForgeLogger:
        """Return a logger without the bound fields `names`; those that are not bound are no error."""
        return ForgeLogger(self.logger, {name: value for name, value in self._fields.items() if name not in names})

    def is_enabled_for(self, level: int) -> bool:
        """Return whether a record of `level` would be made."""
        return self.logger.isEnabledFor(level)

    def debug(
        self,
        message: object,
        /,
        *args: object,
        exc_info: ExcInfo = None,
        stack_info: bool = False,
        stacklevel: int = 1,
        extra: Mapping[str, object] | None = None,
        **fields: Any,
    ) -> None:
        """Log `message` for whoever looks for a fault."""
        if self.logger.isEnabledFor(logging.DEBUG):
            self.logger.log(
                logging.DEBUG, message, *args, **self._options(exc_info, stack_info, stacklevel, extra, fields)
            )

    def info(
        self,
        message: object,
        /,
        *args: object,
        exc_info: ExcInfo = None,
        stack_info: bool = False,
        stacklevel: int = 1,
        extra: Mapping[str, object] | None = None,
        **fields: Any,
    ) -> None:
        """Log `message` as the normal course of things."""
        if self.logger.isEnabledFor(logging.INFO):
            self.logger.log(
                logging.INFO, message, *args, **self._options(exc_info, stack_info, stacklevel, extra, fields)
            )

    def warning(
        self,
        message: object,
        /,
        *args: object,
        exc_info: ExcInfo = None,
        stack_info: bool = False,
        stacklevel: int = 1,
        extra: Mapping[str, object] | None = None,
        **fields: Any,
    ) -> None:
        """Log `message` as something that should not be, and that the application lives with."""
        if self.logger.isEnabledFor(logging.WARNING):
            self.logger.log(
                logging.WARNING, message, *args, **self._options(exc_info, stack_info, stacklevel, extra, fields)
            )

    def error(
        self,
        message: object,
        /,
        *args: object,
        exc_info: ExcInfo = None,
        stack_info: bool = False,
        stacklevel: int = 1,
        extra: Mapping[str, object] | None = None,
        **fields: Any,
    ) -> None:
        """Log `message` as something that failed; `exc_info` takes the exception itself."""
        if self.logger.isEnabledFor(logging.ERROR):
            self.logger.log(
                logging.ERROR, message, *args, **self._options(exc_info, stack_info, stacklevel, extra, fields)
            )

    def exception(
        self,
        message: object,
        /,
        *args: object,
        exc_info: ExcInfo = True,
        stack_info: bool = False,
        stacklevel: int = 1,
        extra: Mapping[str, object] | None = None,
        **fields: Any,
    ) -> None:
        """Log `message` as an error together with the exception that is being handled."""
        if self.logger.isEnabledFor(logging.ERROR):
            self.logger.log(
                logging.ERROR, message, *args, **self._options(exc_info, stack_info, stacklevel, extra, fields)
            )

    def critical(
        self,
        message: object,
        /,
        *args: object,
        exc_info: ExcInfo = None,
        stack_info: bool = False,
        stacklevel: int = 1,
        extra: Mapping[str, object] | None = None,
        **fields: Any,
    ) -> None:
        """Log `message` as something after which the service cannot go on."""
        if self.logger.isEnabledFor(logging.CRITICAL):
            self.logger.log(
                logging.CRITICAL, message, *args, **self._options(exc_info, stack_info, stacklevel, extra, fields)
            )

    def log(
        self,
        level: int,
        message: object,
        /,
        *args: object,
        exc_info: ExcInfo = None,
        stack_info: bool = False,
        stacklevel: int = 1,
        extra: Mapping[str, object] | None = None,
        **fields: Any,
    ) -> None:
        """Log `message` at a level given as a number."""
        if self.logger.isEnabledFor(level):
            self.logger.log(level, message, *args, **self._options(exc_info, stack_info, stacklevel, extra, fields))

    def _options(
        self,
        exc_info: ExcInfo,
        stack_info: bool,
        stacklevel: int,
        extra: Mapping[str, object] | None,
        fields: dict[str, Any],
    ) -> dict[str, Any]:
        """Return what the standard library's method takes; a record without fields is left as plain as it was."""
        if self._fields:
            fields = {**self._fields, **fields}
        attributes: dict[str, Any] = {}
        if extra:  # a name that the record has already would raise: such a one becomes a field
            attributes = {name: value for name, value in extra.items() if name not in _RESERVED}
            fields = {**{name: value for name, value in extra.items() if name in _RESERVED}, **fields}
        if fields:
            attributes[FIELDS] = fields
        return {
            "exc_info": exc_info,
            "stack_info": stack_info,
            "stacklevel": stacklevel + _BEYOND_OURS - 1,
            "extra": attributes or None,
        }

    def __repr__(self) -> str:
        return f"<ForgeLogger {self.name} {self._fields}>"


def get_logger(name: str | None = None, /, **fields: Any) -> ForgeLogger:
    """Return the logger `name`, with `fields` bound to it; without a name, the root logger."""
    return ForgeLogger(logging.getLogger(name), fields)
