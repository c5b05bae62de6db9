"""sqlite3: true connections and cursors, a span for every execution."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from opentelemetry import trace

from otel_forge.instruments.statements import operation_word
from tests.instruments.conftest import Kept, Start, attributes


def texts(kept: Kept) -> list[str]:
    return [attributes(span)["db.query.text"] for span in kept.spans]


def test_connections_and_cursors_are_what_they_say(start: Start, kept: Kept) -> None:
    """isinstance, repr and functions in C that check the type work."""
    start("sqlite3")
    connection = sqlite3.connect(":memory:")
    assert isinstance(connection, sqlite3.Connection) and isinstance(connection.cursor(), sqlite3.Cursor)
    assert repr(connection).startswith("<sqlite3.Connection object")
    with contextlib.closing(sqlite3.connect(":memory:")) as target:
        connection.backup(target)
    connection.close()


def test_the_shortcuts_of_a_connection_make_one_span_each(start: Start, kept: Kept) -> None:
    """execute, executemany, executescript, as a context manager, and iteration over rows."""
    start("sqlite3")
    with contextlib.closing(sqlite3.connect(":memory:")) as connection, connection:
        connection.executescript("CREATE TABLE item (id INTEGER)")
        connection.executemany("INSERT INTO item VALUES (?)", [(1,), (2,)])
        assert list(connection.execute("SELECT id FROM item ORDER BY id")) == [(1,), (2,)]
    assert kept.names == ["CREATE", "INSERT", "SELECT"]
    [rows] = kept.points("db.client.response.returned_rows")
    assert (rows.count, rows.sum) == (1, 2)


def test_row_factories_work(start: Start, kept: Kept) -> None:
    """On the connection, as usual."""
    start("sqlite3")
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.row_factory = sqlite3.Row
        assert connection.execute("SELECT 1 AS one").fetchone()["one"] == 1


class OwnCursor(sqlite3.Cursor):
    """A cursor of the application."""

    def execute(self, *arguments: Any) -> Any:
        return super().execute(*arguments)


class OwnConnection(sqlite3.Connection):
    """A connection of the application, with a cursor of its own."""

    def cursor(self, factory: Any = OwnCursor) -> Any:
        return super().cursor(factory)


@pytest.mark.parametrize("by_position", [False, True])
def test_classes_of_the_application_are_kept(start: Start, kept: Kept, by_position: bool) -> None:
    """The connection class given as factory, by name or by position, and the cursor class it uses."""
    start("sqlite3")
    connect: Any = sqlite3.connect
    if by_position:
        connection = connect(":memory:", 5.0, 0, "", True, OwnConnection)
    else:
        connection = connect(":memory:", factory=OwnConnection)
    cursor = connection.cursor()
    assert isinstance(connection, OwnConnection) and isinstance(cursor, OwnCursor)
    assert type(connection).__name__ == "OwnConnection"
    cursor.execute("SELECT 1")
    connection.execute("SELECT 2")
    connection.close()
    assert texts(kept) == ["SELECT 1", "SELECT 2"]


def test_a_factory_that_is_no_class_is_called(start: Start, kept: Kept) -> None:
    """What it returns is the application's business."""
    start("sqlite3")
    connect: Any = sqlite3.connect
    connection = connect(":memory:", factory=lambda *arguments, **named: OwnConnection(":memory:"))
    assert type(connection) is OwnConnection
    connection.close()


def test_sqlalchemy_works(start: Start, kept: Kept) -> None:
    """Through its pysqlite dialect."""
    start("sqlite3")
    engine = sqlalchemy.create_engine("sqlite://")
    with engine.connect() as connection:
        assert connection.execute(sqlalchemy.text("SELECT 41 + 1")).scalar() == 42
    engine.dispose()
    assert "SELECT 41 + 1" in texts(kept)


def test_the_span_is_current_while_the_statement_runs(start: Start, kept: Kept) -> None:
    """A function that SQL calls belongs to the statement; afterwards all is as before."""
    start("sqlite3")
    seen: list[Any] = []
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.create_function("look", 0, lambda: seen.append(trace.get_current_span()))
        connection.execute("SELECT look()")
    assert seen == kept.spans and trace.get_current_span() is trace.INVALID_SPAN


def test_an_error_is_raised_as_it_is_and_recorded(start: Start, kept: Kept) -> None:
    """With its class as error.type of the duration."""
    start("sqlite3")
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        with pytest.raises(sqlite3.OperationalError, match="no such table"):
            connection.execute("SELECT * FROM nowhere")
        with pytest.raises(TypeError):
            connection.cursor().execute()  # type: ignore[call-arg]
    assert [span.status_code for span in kept.spans] == [2, 2]
    assert {point.attributes["error.type"] for point in kept.points("db.client.operation.duration")} == {
        "OperationalError",
        "TypeError",
    }


def test_statements_without_end_do_not_fill_the_memory(start: Start, kept: Kept) -> None:
    """Text put together with values: the table is bounded, and every span still has its own text."""
    instrument: Any = start("sqlite3")
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        for number in range(600):
            connection.execute(f"SELECT {number}")
        connection.execute(f"SELECT '{'x' * 5000}'")
    assert len(instrument._recorder.statements) == 512
    assert texts(kept)[:600] == [f"SELECT {number}" for number in range(600)]
    assert len(texts(kept)[600]) == 5009
    assert set(kept.names) == {"SELECT"}


def test_threads_share_an_instrument(start: Start, kept: Kept, tmp_path: Path) -> None:
    """Each with a connection of its own."""
    from concurrent.futures import ThreadPoolExecutor

    start("sqlite3")

    def work(number: int) -> None:
        with contextlib.closing(sqlite3.connect(tmp_path / "shared.db")) as connection:
            for _ in range(50):
                connection.execute("SELECT ?", (number,))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(8)))
    assert len(kept.spans) == 400 and len({span.span_id for span in kept.spans}) == 400


def test_taking_the_instrument_off_stops_recording(start: Start, kept: Kept) -> None:
    """On open connections as well; connect is the library's again."""
    before = sqlite3.connect
    instrument = start("sqlite3")
    connection = sqlite3.connect(":memory:")
    instrument.uninstrument()
    connection.execute("SELECT 1")
    connection.close()
    assert sqlite3.connect is before is sqlite3.dbapi2.connect and kept.spans == []


@pytest.mark.parametrize(
    ("statement", "word"),
    [
        ("SELECT 1", "SELECT"),
        ("  update x", "update"),
        ("/* a */DELETE", "DELETE"),
        ("", ""),
        (" \n", ""),
        ("--", "--"),
    ],
)
def test_a_span_is_named_by_the_first_word(statement: str, word: str) -> None:
    """A leading comment is no word."""
    assert operation_word(statement) == word
