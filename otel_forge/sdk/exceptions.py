"""Exceptions, recorded lightly: a summary in the request, the text on the delivery thread.

Formatting a traceback reads source lines and costs hundreds of microseconds. The summary keeps what the
text is made from: the exception's own words, its chain, and for each frame the code object and the
instruction. It keeps no frame and no exception alive, hence no locals of the application.

Most exceptions are written as type and text, and are kept as that. The words of the others (syntax errors, groups,
notes, "did you mean" suggestions) come from ``traceback.TracebackException(limit=0)``, which does everything except
walking the stack, so that they are the interpreter's own. The frames are put in when the text is asked for.

A service fails in the same places again and again. A traceback that was formatted before is found again by its code
objects and instructions, and its text is there at once: a record then holds text only, which is nothing to the garbage
collector. Summaries of ten frames each, a second's worth of them alive, would make it run over the whole heap.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from traceback import FrameSummary, StackSummary, TracebackException
from types import CodeType, TracebackType
from typing import Any, cast

_Frame = tuple[CodeType, int, int, Any, Any]  # code, instruction, line, module's name, module's loader
MAX_FRAMES = 2000  # a RecursionError has a thousand by default; formatting folds repetitions


class Stacktrace:
    """The text of an exception's traceback, formatted when first asked for with ``str``."""

    __slots__ = ("_source", "_text")

    def __init__(self, exception: BaseException) -> None:
        self._source: _Plain | _Mirror = _plain(exception) or _Mirror(exception)
        self._text = self._source.known_text()

    def __str__(self) -> str:
        text = self._text
        if text is None:
            text = self._text = self._source.text()
        return text

    def settled(self) -> str | Stacktrace:
        """Return the text if it needs no formatting, otherwise this object."""
        return self if self._text is None else self._text


class _Plain:
    """An exception and those it came from, each of which is written as its type and its text."""

    __slots__ = ("_links",)

    def __init__(self, links: list[tuple[str, _Trace, str]]) -> None:
        self._links = links

    def known_text(self) -> str | None:
        """Return the text if all frames were formatted before."""
        return None if any(trace.formatted is None for _, trace, _ in self._links) else self.text()

    def text(self) -> str:
        """Return the traceback, the oldest exception first."""
        parts: list[str] = []
        for connection, trace, line in reversed(self._links):
            parts += (_HEAD, trace.text(), line, connection) if trace.frames else (line, connection)
        return "".join(parts)


_HEAD = "Traceback (most recent call last):\n"
_CAUSED = "\nThe above exception was the direct cause of the following exception:\n\n"
_MEANWHILE = "\nDuring handling of the above exception, another exception occurred:\n\n"
_LONGEST_CHAIN = 100
_WRITTEN_BY_INTERPRETER = (SyntaxError, NameError, AttributeError, ImportError)


def _plain(exception: BaseException) -> _Plain | None:
    """Return `exception` and what it came from, or None if one of them needs the interpreter to be written."""
    links: list[tuple[str, _Trace, str]] = []
    connection = ""
    current: BaseException | None = exception
    while current is not None:
        line = _line(current)
        if line is None or len(links) == _LONGEST_CHAIN:  # that long, it goes in a circle
            return None
        links.append((connection, _trace(current.__traceback__), line))
        connection, current = _origin(current)
    return _Plain(links)


def _line(exception: BaseException) -> str | None:
    """Return the last line of the traceback of `exception`, or None if that is more than its type and its text."""
    if isinstance(exception, _WRITTEN_BY_INTERPRETER) or hasattr(exception, "__notes__"):
        return None
    kind = type(exception)
    module = kind.__module__
    if type(module) is not str or hasattr(exception, "exceptions"):
        return None
    name = kind.__qualname__ if module in ("__main__", "builtins") else f"{module}.{kind.__qualname__}"
    try:
        text = str(exception)
    except Exception:  # noqa: BLE001 - the application's own __str__; interpreters differ in what they write then
        return None
    return f"{name}: {text}\n" if text else f"{name}\n"


def _origin(exception: BaseException) -> tuple[str, BaseException | None]:
    """Return the exception that this one came from, and the words that stand between the two."""
    if exception.__cause__ is not None:
        return _CAUSED, exception.__cause__
    if exception.__context__ is not None and not exception.__suppress_context__:
        return _MEANWHILE, exception.__context__
    return "", None


class _Mirror:
    """The interpreter's image of an exception, without frames until its text is asked for."""

    __slots__ = ("_error", "_traces")

    def __init__(self, exception: BaseException) -> None:
        self._traces: list[tuple[TracebackException, _Trace]] = []
        self._error = TracebackException(
            type(exception), exception, exception.__traceback__, limit=0, lookup_lines=False, compact=True
        )
        self._gather(self._error, exception)

    def _gather(self, error: TracebackException, exception: BaseException) -> None:
        """Keep the traces of `exception` and of all it is linked to; `error` is its mirror image and has no cycles."""
        pending: list[tuple[TracebackException, BaseException]] = [(error, exception)]
        while pending:
            image, original = pending.pop()
            self._traces.append((image, _trace(original.__traceback__)))
            for link, target in ((image.__cause__, original.__cause__), (image.__context__, original.__context__)):
                if link is not None and target is not None:
                    pending.append((link, target))
            members = getattr(image, "exceptions", None)
            if members:
                pending.extend(zip(members, original.exceptions, strict=False))  # type: ignore[attr-defined]

    def known_text(self) -> None:
        """Return nothing: the interpreter's words are not known before."""

    def text(self) -> str:
        """Return the traceback as the interpreter prints it."""
        for image, trace in self._traces:
            image.stack = _Stack(trace)
        return "".join(self._error.format())


def exception_attributes(exception: BaseException) -> dict[str, Any]:
    """Return type, message and stack trace of `exception` as attributes; the last a `Stacktrace` if it is new."""
    return {
        "exception.type": type_name(exception),
        "exception.message": message(exception),
        "exception.stacktrace": _stacktrace(exception),
    }


def settle(attributes: dict[str, Any]) -> None:
    """Put the text in the place of a `Stacktrace` in `attributes`."""
    stacktrace = attributes.get("exception.stacktrace")
    if type(stacktrace) is Stacktrace:
        try:
            attributes["exception.stacktrace"] = str(stacktrace)
        except Exception as error:  # noqa: BLE001 - source code that cannot be read must not cost the record
            attributes["exception.stacktrace"] = f"<stack trace cannot be formatted: {type(error).__name__}>"


def type_name(exception: BaseException) -> str:
    """Return the qualified name of the exception's class, without ``builtins``."""
    kind = type(exception)
    module = kind.__module__
    return f"{module}.{kind.__qualname__}" if module and module != "builtins" else kind.__qualname__


def message(exception: BaseException) -> str:
    """Return the exception's text; one that cannot be printed says so, as in a traceback."""
    try:
        return str(exception)
    except Exception:  # noqa: BLE001 - the application's own __str__
        return "<exception str() failed>"


def _stacktrace(exception: BaseException) -> Any:
    try:
        return Stacktrace(exception).settled()
    except Exception as error:  # noqa: BLE001 - an exception with hostile attributes
        return f"<stack trace cannot be read: {type(error).__name__}>"


class _Trace:
    """The frames of a traceback, and their text once it was asked for."""

    __slots__ = ("formatted", "frames")

    def __init__(self, frames: list[_Frame]) -> None:
        self.frames = frames
        self.formatted: str | None = None

    def text(self) -> str:
        """Return the frames as the interpreter prints them."""
        text = self.formatted
        if text is None:
            text = self.formatted = "".join(_texts(self.frames))
        return text


_traces: dict[tuple[int, ...], _Trace] = {}
"""Tracebacks seen before, by the identities of their code objects, which they keep alive, and the instructions."""
_MOST_TRACES = 256


def _trace(traceback: TracebackType | None) -> _Trace:
    """Return what is known of `traceback`, or begin to know it."""
    places: list[int] = []
    current = traceback
    while current is not None and len(places) < 2 * MAX_FRAMES:
        places += (id(current.tb_frame.f_code), current.tb_lasti)
        current = current.tb_next
    key = tuple(places)
    known = _traces.get(key)
    if known is None:
        if len(_traces) >= _MOST_TRACES:
            _traces.clear()
        known = _traces[key] = _Trace(_frames(traceback))
    return known


def _frames(traceback: TracebackType | None) -> list[_Frame]:
    frames: list[_Frame] = []
    while traceback is not None and len(frames) < MAX_FRAMES:
        frame = traceback.tb_frame
        module = frame.f_globals
        frames.append(
            (frame.f_code, traceback.tb_lasti, traceback.tb_lineno, module.get("__name__"), module.get("__loader__"))
        )
        traceback = traceback.tb_next
    return frames


class _FrameImage:
    """What a formatter reads of a frame; there are no locals in it."""

    __slots__ = ("f_code", "f_globals", "f_locals")

    def __init__(self, code: CodeType, name: Any, loader: Any) -> None:
        self.f_code = code
        self.f_globals = {"__name__": name, "__loader__": loader}
        self.f_locals: dict[str, Any] = {}


class _Stack(StackSummary):
    """Frames whose text is kept, as `TracebackException` asks for them."""

    def __init__(self, trace: _Trace) -> None:
        super().__init__(cast("list[FrameSummary]", trace.frames))
        self._trace = trace

    def format(self, **options: Any) -> list[str]:
        """Return the text of the frames, as the interpreter would print it."""
        return [self._trace.text()] if self else []


def _texts(frames: list[_Frame]) -> list[str]:
    if len(frames) > _FOLDED and _repeats(frames):
        return _summary(frames).format()
    return [_FRAME_TEXTS.get(_place(frame)) or _frame_text(frame) for frame in frames]


_FRAME_TEXTS: dict[tuple[str, CodeType, int, int], str] = {}
_MOST_TEXTS = 4096
_FOLDED = 3  # from the fourth frame of the same line on, the interpreter prints how often it was repeated


def _frame_text(frame: _Frame) -> str:
    if len(_FRAME_TEXTS) >= _MOST_TEXTS:
        _FRAME_TEXTS.clear()
    text = _FRAME_TEXTS[_place(frame)] = "".join(_summary([frame]).format())
    return text


def _place(frame: _Frame) -> tuple[str, CodeType, int, int]:
    """Return what tells one place from another: code objects are equal even if they are of different files."""
    return (frame[0].co_filename, frame[0], frame[1], frame[2])


def _repeats(frames: list[_Frame]) -> bool:
    return any(frame[0] is after[0] and frame[2] == after[2] for frame, after in zip(frames, frames[1:], strict=False))


def _summary(frames: list[_Frame]) -> StackSummary:
    """Return the summary that the interpreter itself would have made, with the marks under the failing expression."""
    precise = getattr(StackSummary, "_extract_from_extended_frame_gen", None)
    if precise is not None:
        return precise(_with_positions(frames))  # type: ignore[no-any-return]
    return StackSummary.extract((_FrameImage(code, name, loader), line) for code, _, line, name, loader in frames)  # type: ignore[misc]


def _with_positions(frames: list[_Frame]) -> Iterator[tuple[_FrameImage, tuple[int | None, ...]]]:
    for code, instruction, line, name, loader in frames:
        yield _FrameImage(code, name, loader), _position(code, instruction, line)


def _position(code: CodeType, instruction: int, line: int) -> tuple[int | None, ...]:
    if sys.version_info < (3, 11) or instruction < 0:
        return line, None, None, None
    for index, position in enumerate(code.co_positions()):
        if index == instruction // 2:
            return (line, *position[1:]) if position[0] is None else position
    return line, None, None, None
