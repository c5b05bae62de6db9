"""Handlers that write lines: the application is unharmed, whatever is logged and whenever."""

from __future__ import annotations

import gc
import io
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from otel_forge.logs.describe import Describer
from otel_forge.logs.handlers import StreamLines
from otel_forge.logs.json_view import JsonView
from otel_forge.logs.logger import ForgeLogger, get_logger
from tests.logs.conftest import Lines
from tests.programs import Programs

VIEW = JsonView(Describer())


def messages(text: str) -> list[str]:
    """Return the messages of JSON lines."""
    return [json.loads(line)["message"] for line in text.splitlines()]


class Talking:
    """An object whose ``repr`` logs itself."""

    def __init__(self, logger: ForgeLogger) -> None:
        self._logger = logger

    def __repr__(self) -> str:
        self._logger.info("in repr", me=self)
        return "talking"


@pytest.mark.gate
def test_l4_a_repr_that_logs_ends(logger: ForgeLogger, lines: Callable[..., Lines]) -> None:
    """L4: even if it logs itself; every line is whole."""
    handler = lines()
    logger.info("outer", me=Talking(logger))
    assert messages(handler.text)[-1] == "outer"
    assert set(messages(handler.text)) == {"outer", "in repr"} and handler.failures == 1


@pytest.mark.gate
def test_l4_a_repr_that_waits_for_another_thread_does_not_lock_up(
    logger: ForgeLogger, lines: Callable[..., Lines]
) -> None:
    """L4: the line is made before the lock is taken, so the other thread can log meanwhile."""
    handler = lines()

    class Waiting:
        def __repr__(self) -> str:
            other = threading.Thread(target=logger.info, args=("from the other thread",))
            other.start()
            other.join(20)
            return f"alive: {other.is_alive()}"

    logger.info("outer", field=Waiting())
    assert messages(handler.text) == ["from the other thread", "outer"]
    assert json.loads(handler.written[1])["data"] == {"field": "alive: False"}


class Interrupting(Lines):
    """Calls something in the midst of each write, as a finaliser or a signal would."""

    def __init__(self, *args: Any, meanwhile: Callable[[], object], **options: Any) -> None:
        super().__init__(*args, **options)
        self._meanwhile = meanwhile

    def write(self, text: str) -> None:
        self.written.append(text[:5])
        if len(self.written) == 1:
            self._meanwhile()
        self.written.append(text[5:])


@pytest.mark.gate
@pytest.mark.parametrize("how", ["garbage", "signal"])
def test_l4_what_is_logged_in_the_midst_of_a_write_comes_after_it(logger: ForgeLogger, how: str) -> None:
    """L4: by a finaliser or a signal handler in the same thread."""

    class Garbage:
        def __del__(self) -> None:
            logger.info("meanwhile")

    def collect() -> None:
        garbage: list[Any] = [Garbage()]
        garbage.append(garbage)
        del garbage
        gc.collect()

    def on_signal(number: int, frame: FrameType | None) -> None:
        logger.info("meanwhile")

    before = signal.signal(signal.SIGUSR1, on_signal)
    meanwhile = collect if how == "garbage" else lambda: os.kill(os.getpid(), signal.SIGUSR1)
    handler = Interrupting(VIEW, meanwhile=meanwhile)
    logger.logger.addHandler(handler)
    try:
        logger.info("outer")
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert messages(handler.text) == ["outer", "meanwhile"]


@pytest.mark.parametrize("error", [OSError(28, "No space left"), ValueError("closed file"), BlockingIOError()])
def test_a_sink_that_fails_is_counted_and_said_once(
    logger: ForgeLogger, capfd: pytest.CaptureFixture[str], error: Exception
) -> None:
    """The application notices nothing."""

    class Failing(Lines):
        def write(self, text: str) -> None:
            raise error

    handler = Failing(VIEW)
    logger.logger.addHandler(handler)
    for _ in range(3):
        logger.info("lost")
    assert handler.failures == 3
    assert capfd.readouterr().err.count("log records cannot be written") == 1


def test_a_line_goes_to_the_stream_of_the_moment(logger: ForgeLogger, monkeypatch: pytest.MonkeyPatch) -> None:
    """So output that is redirected takes log lines along; a stream that is missing is no error."""
    handler = StreamLines(VIEW, "stdout")
    logger.logger.addHandler(handler)
    for name in ("first", "second"):
        stream = io.StringIO()
        monkeypatch.setattr(sys, "stdout", stream)
        logger.info(name)
        assert messages(stream.getvalue()) == [name]
    monkeypatch.setattr(sys, "stdout", None)
    logger.info("nowhere")
    assert handler.failures == 0


def test_an_encoding_that_lacks_a_character_gets_an_escape(logger: ForgeLogger) -> None:
    """As on a terminal of the C locale."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    logger.logger.addHandler(StreamLines(VIEW, stream))
    logger.info("Größe")
    stream.seek(0)
    assert "Gr\\xf6\\xdfe" in stream.read()


def test_what_the_application_shows_itself_is_left_to_it(logger: ForgeLogger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing appears twice: not of the logger, not of those above it; what its handler leaves out is ours."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    theirs = logging.StreamHandler()
    theirs.setLevel(logging.ERROR)
    logger.logger.addHandler(theirs)
    logger.logger.addHandler(StreamLines(VIEW, "stderr"))
    get_logger("shop.till").error("theirs")
    get_logger("shop.till").warning("ours")
    assert stream.getvalue().splitlines()[0] == "theirs"
    assert messages("".join(stream.getvalue().splitlines(True)[1:])) == ["ours"]


SETUP = """
    import logging, os, sys, threading, time
    from otel_forge.logs.configuration import configure_logging
    from otel_forge.logs.logger import get_logger
    configure_logging(view="json")
    log = get_logger("app")
"""


@pytest.mark.gate
def test_l4_logging_while_the_interpreter_ends(programs: Programs) -> None:
    """L4: in atexit functions, in destructors of module globals, in a daemon thread; exit code 0 and no traceback."""
    script = programs.write(
        "ending.py",
        SETUP
        + """
    import atexit
    class Late:
        def __del__(self):
            log.info("in a destructor", me=self)
            log.error("error in a destructor", exc_info=ValueError("x"))
    late = Late()
    sys.late = late
    cycle = [Late()]; cycle.append(cycle)
    def busy():
        while True:
            log.info("from a daemon")
    threading.Thread(target=busy, daemon=True).start()
    atexit.register(lambda: log.info("at exit"))
    log.info("last line")
    """,
    )
    program = programs.start(sys.executable, str(script))
    assert program.wait() == 0
    said = messages("".join(line for line in program.out.splitlines(True) if line.endswith("\n")))
    assert {"last line", "at exit"} <= set(said)
    assert program.err == ""


@pytest.mark.gate
def test_l4_forking_while_other_threads_log(programs: Programs) -> None:
    """L4: a child never finds a lock taken by a thread that it has not; every line of both is whole."""
    script = programs.write(
        "forking.py",
        SETUP
        + """
    stop = threading.Event()
    def busy(number):
        while not stop.is_set():
            log.info("parent", number=number, text="x" * 500)
    threads = [threading.Thread(target=busy, args=(n,)) for n in range(4)]
    [thread.start() for thread in threads]
    for n in range(50):
        child = os.fork()
        if child == 0:
            log.info("child", number=n)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
    stop.set()
    [thread.join() for thread in threads]
    """,
    )
    program = programs.start(sys.executable, str(script))
    assert program.wait(90) == 0, program.err
    said = messages(program.out)
    assert said.count("child") == 50 and set(said) == {"child", "parent"}


@pytest.mark.gate
def test_l4_a_fork_waits_for_the_line_that_is_being_written(logger: ForgeLogger) -> None:
    """L4: the lock inside of a stream, which nobody could give back in the child, is free there."""

    class Slow(Lines):
        inside = threading.Lock()
        writing, may_go_on = threading.Event(), threading.Event()

        def write(self, text: str) -> None:
            with self.inside:
                self.writing.set()
                self.may_go_on.wait(20)

    handler = Slow(VIEW)
    logger.logger.addHandler(handler)
    writer = threading.Thread(target=logger.info, args=("slow",))
    writer.start()
    handler.writing.wait(20)
    threading.Timer(0.05, handler.may_go_on.set).start()
    child = os.fork()
    if child == 0:
        os._exit(0 if handler.inside.acquire(blocking=False) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    writer.join()


@pytest.mark.gate
def test_l4_hostile_objects_harm_nobody(programs: Programs) -> None:
    """L4: what cannot be serialised, recursion, a repr that raises or never ends, ten megabytes, a closed stream."""
    script = programs.write(
        "hostile.py",
        SETUP
        + """
    class Raises:
        def __repr__(self): raise SystemError("no")
    class Endless:
        def __repr__(self): return repr(self)
    class Liar(str):
        def __str__(self): raise RuntimeError
        def __len__(self): raise RuntimeError
    class Map(dict):
        def items(self): raise RuntimeError
    circle = {}; circle["circle"] = circle
    log.info("hostile", a=Raises(), b=Endless(), c=circle, d=lambda: 0, e=object, f=Liar("x"), g=Map(a=1), h=b"\\xff")
    log.info(Raises()); log.info("%s", Raises()); log.info("%d", "x"); log.info(None); log.info("%s %s", 1)
    log.info("long", text="x" * 10_000_000)
    log.info("y" * 10_000_000)
    log.error("chain", exc_info=ValueError(Raises()))
    sys.stdout.flush()
    sys.stdout.close()
    log.info("nowhere")
    print("still here", file=sys.stderr)
    """,
    )
    program = programs.start(sys.executable, str(script))
    assert program.wait() == 0
    said = messages(program.out)
    assert len(said) == 9 and said[0] == "hostile"
    assert "[cut, 10,000,000 characters]" in program.out and len(program.out) < 300_000
    assert program.err.splitlines()[-1] == "still here" and "Traceback" not in program.err


@pytest.mark.parametrize("view", ["json", "console"])
def test_a_pipe_that_is_closed_by_its_reader(programs: Programs, view: str) -> None:
    """`app | head -1` goes on working."""
    script = programs.write(
        "pipe.py",
        SETUP.replace("json", view)
        + """
    readable, writable = os.pipe()
    os.dup2(writable, 1); os.dup2(writable, 2); os.close(readable)
    for n in range(100): log.info("nobody reads")
    os._exit(7)
    """,
    )
    assert programs.start(sys.executable, str(script)).wait() == 7
