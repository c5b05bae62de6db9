"""Light summaries of exceptions: the text equals the interpreter's own, and nothing is kept alive."""

from __future__ import annotations

import gc
import importlib
import sys
import traceback
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from otel_forge.sdk.exceptions import Stacktrace, exception_attributes
from tests.sdk.pairs import lean_provider

NOTHING: dict[str, Any] = {}


def deep(levels: int) -> Any:
    return deep(levels - 1) if levels else NOTHING["missing"]["never"] + 1


def simple() -> None:
    deep(3)


def chained() -> None:
    try:
        deep(2)
    except KeyError as error:
        raise ValueError("second") from error


def in_handling() -> None:
    try:
        deep(2)
    except KeyError:
        raise ValueError("second")  # noqa: B904


def suppressed() -> None:
    try:
        deep(2)
    except KeyError:
        raise ValueError("second") from None


def circular() -> None:
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    raise first


def suggesting() -> None:
    "".joinn()  # type: ignore[attr-defined]


def suggesting_a_name() -> None:
    something = 1
    print(something, somethin)  # type: ignore[name-defined]  # noqa: F821


def syntax() -> None:
    compile("a = (1,\nb c", "file.py", "exec")


def recursive() -> None:
    recursive()


def multiline() -> None:
    raise ValueError(
        "over several lines",
        [1, 2, 3],
    )


def without_text() -> None:
    class Hostile(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    raise Hostile


def generated() -> None:
    exec(compile("def f():\n    raise KeyError('generated')\nf()", "<generated>", "exec"))


def grouped() -> None:
    errors = []
    for function in (simple, chained):
        try:
            function()
        except Exception as error:
            errors.append(error)
    raise ExceptionGroup("both", errors)  # type: ignore[name-defined,unused-ignore]  # noqa: F821


def noted() -> None:
    error = ValueError("noted")
    error.add_note("a note")  # type: ignore[attr-defined,unused-ignore]
    raise error


def without_words() -> None:
    raise KeyError


def from_main() -> None:
    class Odd(Exception):
        __module__ = "__main__"

    raise Odd("in the program itself")


def from_an_exception_never_raised() -> None:
    raise ValueError("second") from KeyError("first")


def caused_while_handling() -> None:
    try:
        chained()
    except ValueError as error:
        raise RuntimeError("third") from error


def from_a_missing_module() -> None:
    try:
        importlib.import_module("otel_forge.nothing")
    except ImportError as error:
        raise ValueError("second") from error


def with_members() -> None:
    error = ValueError("odd")
    error.exceptions = [1]  # type: ignore[attr-defined]
    raise error


def long_chain() -> None:
    error = ValueError("first")
    for number in range(200):
        following = ValueError(f"number {number}")
        following.__cause__ = error
        error = following
    raise error


RAISING: list[Callable[[], None]] = [
    simple,
    chained,
    in_handling,
    suppressed,
    circular,
    suggesting,
    suggesting_a_name,
    syntax,
    recursive,
    multiline,
    without_text,
    generated,
    without_words,
    from_main,
    from_an_exception_never_raised,
    caused_while_handling,
    from_a_missing_module,
    with_members,
    long_chain,
]
if sys.version_info >= (3, 11):
    RAISING += [grouped, noted]


def caught(function: Callable[[], None]) -> BaseException:
    try:
        function()
    except Exception as error:
        return error
    raise AssertionError("did not raise")


@pytest.mark.parametrize("function", RAISING, ids=lambda function: function.__name__)
def test_the_text_is_that_of_the_interpreter(function: Callable[[], None]) -> None:
    """Chains, groups, notes, suggestions, repeated frames, marks under the failing expression."""
    error = caught(function)
    for _ in range(2):  # the text of a frame is kept
        assert str(Stacktrace(error)) == "".join(traceback.format_exception(error))


def test_equal_code_of_different_files_is_told_apart() -> None:
    """Code objects compare equal whatever file they are from."""

    def raised_in(file: str) -> str:
        try:
            exec(compile("raise ValueError", file, "exec"))
        except ValueError as error:
            return str(Stacktrace(error))
        return ""

    assert 'File "one.py"' in raised_in("one.py")
    assert 'File "two.py"' in raised_in("two.py")


def test_an_exception_that_was_never_raised_has_no_frames() -> None:
    """Only its last line."""
    assert str(Stacktrace(ValueError("never raised"))) == "ValueError: never raised\n"


def test_locals_of_the_application_are_not_kept_alive() -> None:
    """Once the exception is handled, its frames are gone, though the span still waits in the ring."""

    class Large:
        """Stands for megabytes."""

    def failing() -> weakref.ref[Large]:
        large = Large()
        reference = weakref.ref(large)
        span = lean_provider(waiting.append).get_tracer("t").start_span("failing")
        try:
            raise ValueError(f"{large!r:.0}failed")
        except ValueError as error:
            span.record_exception(error)
        span.end()
        return reference

    waiting: list[Any] = []
    reference = failing()
    gc.collect()
    assert reference() is None
    span = waiting[0]
    span.settle()
    assert "in failing" in span.events[0][2]["exception.stacktrace"]


def test_hostile_exceptions_are_described_all_the_same() -> None:
    """One without a text says so."""
    described = exception_attributes(caught(without_text))
    assert described["exception.type"] == "tests.sdk.test_exceptions.without_text.<locals>.Hostile"
    assert described["exception.message"] == "<exception str() failed>"


def test_a_failure_in_a_known_place_is_text_at_once() -> None:
    """The second time nothing is left for the delivery thread, and the words are those of the second exception."""

    def failing(text: str) -> Any:
        try:
            raise ValueError(text)
        except ValueError as error:
            return exception_attributes(error)["exception.stacktrace"], "".join(traceback.format_exception(error))

    first, expected = failing("first")
    assert type(first) is Stacktrace
    assert str(first) == expected
    second, expected = failing("second")
    assert type(second) is str
    assert second == expected
