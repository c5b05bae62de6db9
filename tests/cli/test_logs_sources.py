"""The stack's logs as one source among others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from otel_forge.cli.logs_sources import StackLogs
from otel_forge.errors import StackError
from otel_forge.logs.files.entries import EVERYTHING, Selection, pattern_from
from otel_forge.stack.native import NativeBackend


class Engine(NativeBackend):
    """An engine of which only the logs are wanted: it says the lines given, as Docker or our own would."""

    def __init__(self, lines: Sequence[str], error: str = "") -> None:
        self.lines = lines
        self.error = error
        self.asked: list[tuple[tuple[str, ...], int]] = []

    def logs(self, names: Sequence[str], *, lines: int, follow: bool, errors: bool) -> Iterator[str]:
        self.asked.append((tuple(names), lines))
        yield from self.lines
        if self.error:
            raise StackError(self.error)


def texts(source: StackLogs, lines: int | None) -> list[tuple[str, str]]:
    return [(entry.source, entry.text) for entry in source.past(lines)]


@pytest.mark.parametrize("prefixes", [("loki  | ", "tempo | "), ("loki-1   | ", "tempo-1  | ")])
def test_names_in_front_are_taken_off(prefixes: tuple[str, str]) -> None:
    """Those of our own engine, and those of Docker with the number of the container."""
    engine = Engine([f"{prefixes[0]}one", f"{prefixes[1]}two | three", "from the engine itself"])
    source = StackLogs(engine, ["loki", "tempo"], EVERYTHING, follow=False, say=print)
    assert texts(source, 10) == [("loki", "one"), ("tempo", "two | three"), ("stack", "from the engine itself")]
    assert engine.asked == [(("loki", "tempo"), 10)]


def test_of_one_component_lines_are_as_they_are() -> None:
    """A bar in them is theirs."""
    source = StackLogs(Engine(["a | b"]), ["loki"], EVERYTHING, follow=False, say=print)
    assert texts(source, 10) == [("loki", "a | b")]


def test_what_is_searched_for_is_searched_in_all_lines() -> None:
    """And then the last of each component are shown."""
    engine = Engine([f"{name} | line {number}" for number in range(10) for name in ("loki", "tempo")])
    wanted = Selection(pattern=pattern_from("[0-5]"))
    source = StackLogs(engine, ["loki", "tempo"], wanted, follow=False, say=print)
    assert texts(source, 1) == [("loki", "line 5"), ("tempo", "line 5")]
    assert engine.asked[0][1] > 1_000_000
    assert len(texts(source, None)) == 12


def test_an_engine_that_fails_while_it_is_followed_is_heard() -> None:
    """Services are followed on."""
    said: list[str] = []
    engine = Engine(["loki | one"], error="Docker has gone away.")
    source = StackLogs(engine, ["loki", "tempo"], EVERYTHING, follow=True, say=said.append)
    source.wait(10)
    assert [(entry.source, entry.text) for entry in source.new()] == [("loki", "one")]
    assert said == ["Docker has gone away."]
