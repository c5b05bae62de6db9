"""The lean instrumentation of sqlite3: connections and cursors of subclasses that make a span for each execution.

``sqlite3.connect`` returns a true `sqlite3.Connection`, so ``isinstance``, ``backup`` and the shortcuts of
the connection work; a connection or cursor class of the application's own is combined with ours.
"""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Callable
from sqlite3 import dbapi2
from time import time_ns
from typing import Any

from opentelemetry.context import Context
from opentelemetry.trace import SpanKind

from otel_forge.guard import guard
from otel_forge.instruments import spans
from otel_forge.instruments.bounded import Bounded
from otel_forge.instruments.core import Core
from otel_forge.instruments.statements import SCHEMA_URL, Statements
from otel_forge.sdk.current import SPAN_KEY, attach, current_context
from otel_forge.sdk.span import LeanSpan
from otel_forge.sdk.tally import TALLY_KEY, Tally

_LIBRARY = "sqlite3"
_SYSTEM = "sqlite"
_CLIENT = SpanKind.CLIENT
_MODULES = (sqlite3, dbapi2)
_FACTORY = 5  # where the connection class stands among the positional arguments of connect
_MOST_CLASSES = 256
_SUPPRESSED, _SUPPRESSED_ONCE = spans.SUPPRESSED_KEYS
_set = dict.__setitem__


class Sqlite3Instrument:
    """Instruments all connections made by ``sqlite3.connect`` from now on."""

    ADOPTED = ("instrument_connection", "uninstrument_connection")

    def __init__(self) -> None:
        self._core: Core | None = None
        self._restore: list[tuple[Any, Any, Any]] = []
        self._recorder: Recorder | None = None

    def instrument(self, core: Core) -> None:
        """Patch ``sqlite3.connect``; what its connections execute is recorded in `core`."""
        if self._restore:
            return
        if self._recorder is None or core is not self._core:
            self._core, self._recorder = core, Recorder(core)
            self._classes = _Classes(self._recorder)
        self._recorder.is_on = True
        classes = self._classes
        for module in _MODULES:
            original = module.connect
            ours = _connecting(original, classes)
            setattr(module, "connect", ours)  # noqa: B010 - mypy forbids assigning to a function
            self._restore.append((module, original, ours))

    def adopt(self) -> None:
        """Take over nothing: upstream's instrumentor has no options of its own."""

    def instrument_connection(self, connection: Any) -> Any:
        """Return `connection` if it records already; one that was made before is upstream's to wrap."""
        records = self._recorder is not None and isinstance(connection, self._classes.connection)
        return connection if records else NotImplemented

    def uninstrument_connection(self, connection: Any) -> Any:
        """Let the cursors that `connection` makes from now on be plain ones; return it."""
        if self._recorder is None or not isinstance(connection, self._classes.connection):
            return NotImplemented
        setattr(connection, "cursor", functools.partial(sqlite3.Connection.cursor, connection))  # noqa: B010
        return connection

    def uninstrument(self) -> None:
        """Put ``connect`` back; connections that are open record nothing until `instrument` is called again."""
        if self._recorder is not None:
            self._recorder.is_on = False
        for module, original, ours in self._restore:
            if module.connect is ours:
                module.connect = original
        self._restore.clear()


class Recorder:
    """What the executions of all cursors share; `is_on` ends with the instrument."""

    __slots__ = ("is_on", "statements", "tracer")

    def __init__(self, core: Core) -> None:
        self.tracer = core.tracer(_LIBRARY, SCHEMA_URL)
        self.statements = Statements(core, _LIBRARY, _SYSTEM)
        self.is_on = True


def _traced(method: Callable[..., Any], recorder: Recorder) -> Callable[..., Any]:
    """Return `method`, one of the ways to execute, inside a span.

    One long function: it runs for every statement, and in an application each call costs several times what a
    benchmark of it alone shows.
    """
    statements, tracer = recorder.statements, recorder.tracer

    def execute(cursor: sqlite3.Cursor, *arguments: Any) -> Any:
        before = current_context()
        if before.get(_SUPPRESSED) or before.get(_SUPPRESSED_ONCE) or not recorder.is_on:
            return method(cursor, *arguments)
        try:
            own: dict[str, Any] = {}
            statement = statements.get(arguments[0]) if arguments else None
            if statement is None:
                statement, own = statements.of(arguments)
            started = time_ns()
            if tracer.is_short:
                span = tracer.begin(statement.name, before, _CLIENT, own, statement.fixed, started)
            else:
                shared = own if statement.fixed is None else statement.fixed.mapping
                span = tracer.start_span(statement.name, before, _CLIENT, shared, start_time=started)
            context = Context(before)
            _set(context, SPAN_KEY, span)
            attach(context)
        except Exception:  # noqa: BLE001 - the statement is run, recorded or not
            spans.complain("starting the span of a statement")
            return method(cursor, *arguments)
        try:
            result = method(cursor, *arguments)
        except BaseException as error:
            attach(before)
            _fail(span, statement.operation, error, started, time_ns(), before.get(TALLY_KEY))
            raise
        attach(before)
        ended = time_ns()
        ids = span if type(span) is LeanSpan else span.get_span_context()
        operation = statement.operation
        operation.duration.record((ended - started) / 1e9, ids.trace_id, ids.span_id, ids.trace_flags, ended)
        rows = cursor.rowcount
        if rows >= 0:
            cell = operation.rows or operation.counted_rows()
            cell.record(rows, ids.trace_id, ids.span_id, ids.trace_flags, ended)
        span.end(ended)
        tally: Any = before.get(TALLY_KEY)
        if tally is not None:
            tally.add_query(ended - started)
        return result

    execute.__name__, execute.__doc__ = method.__name__, method.__doc__
    return execute


def _fail(span: Any, operation: Any, error: BaseException, started: int, ended: int, tally: Any) -> None:
    """End the span of a statement that raised `error`."""
    with guard("ending the span of a statement"):
        if isinstance(error, Exception):
            context = span.get_span_context()
            operation.failed(error).record(
                (ended - started) / 1e9, context.trace_id, context.span_id, context.trace_flags, ended
            )
            if type(span) is LeanSpan:
                spans.record(span, error, ended)
        span.end(ended)
        if isinstance(tally, Tally):
            tally.add_query(ended - started)


class _Classes:
    """The classes of connections and cursors, ours and those of the application combined with ours."""

    def __init__(self, recorder: Recorder) -> None:
        self.cursor = _cursor_class(recorder)
        self.connection = _connection_class(self)
        self._combined = Bounded(_MOST_CLASSES)

    def of_cursors(self, wanted: Any) -> Any:
        """Return the class to use where the application asks for the cursor class `wanted`."""
        return self.cursor if wanted is sqlite3.Cursor else self._combine(wanted, sqlite3.Cursor, self.cursor)

    def of_connections(self, wanted: Any) -> Any:
        """Return the class to use where the application asks for the connection class `wanted`."""
        if wanted is sqlite3.Connection:
            return self.connection
        return self._combine(wanted, sqlite3.Connection, self.connection)

    def _combine(self, wanted: Any, base: type, ours: type) -> Any:
        if not isinstance(wanted, type) or not issubclass(wanted, base) or issubclass(wanted, ours):
            return wanted
        known = self._combined.get(wanted)
        if known is None:
            body = {"__module__": wanted.__module__, "__qualname__": wanted.__qualname__, "__doc__": wanted.__doc__}
            build: Any = type(wanted)  # nearly always `type`
            known = self._combined.keep(wanted, build(wanted.__name__, (wanted, ours), body))
        return known


def _cursor_class(recorder: Recorder) -> type[sqlite3.Cursor]:
    body = {
        name: _traced(getattr(sqlite3.Cursor, name), recorder) for name in ("execute", "executemany", "executescript")
    }
    return type("Cursor", (sqlite3.Cursor,), {"__slots__": (), "__module__": "sqlite3", **body})


def _connection_class(classes: _Classes) -> type[sqlite3.Connection]:
    cursor_of, plain = sqlite3.Connection.cursor, classes.cursor

    class Connection(sqlite3.Connection):
        __slots__ = ("__dict__",)  # for the cursor method of a connection that is left alone
        __doc__ = sqlite3.Connection.__doc__

        def cursor(self, factory: Any = plain) -> Any:
            return cursor_of(self, plain if factory is plain else classes.of_cursors(factory))

        def execute(self, *arguments: Any) -> Any:
            return self.cursor().execute(*arguments)

        def executemany(self, *arguments: Any) -> Any:
            return self.cursor().executemany(*arguments)

        def executescript(self, *arguments: Any) -> Any:
            return self.cursor().executescript(*arguments)

    Connection.__module__, Connection.__qualname__ = "sqlite3", "Connection"
    return Connection


def _connecting(original: Callable[..., Any], classes: _Classes) -> Callable[..., Any]:
    """Return what stands in the place of ``sqlite3.connect``."""

    @functools.wraps(original)
    def connect(*arguments: Any, **named: Any) -> Any:
        if len(arguments) > _FACTORY:
            wanted = classes.of_connections(arguments[_FACTORY])
            arguments = (*arguments[:_FACTORY], wanted, *arguments[_FACTORY + 1 :])
        else:
            named["factory"] = classes.of_connections(named.get("factory", sqlite3.Connection))
        return original(*arguments, **named)

    return connect
