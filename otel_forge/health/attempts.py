"""One call of a check function, on a thread of its own, so that whoever waits for it can stop waiting.

Nothing can end a Python thread that hangs; so there is never more than one for each check, and while it hangs no
other is started. No signal is used: this works in any thread and in any kind of worker. Under gevent, where a thread
is a greenlet, coroutine functions run in one of gevent's real threads, because asyncio knows one loop a thread.
"""

from __future__ import annotations

import contextvars
import sys
import threading
from collections.abc import Awaitable, Callable
from importlib import import_module
from inspect import isawaitable
from typing import Any

from otel_forge.health.results import FAIL, Result, result_of, result_of_error
from otel_forge.sdk.current import suppress_in_this_thread

Function = Callable[[], Any]


class Attempt:
    """A call on its way: `result` is None until it is over, `seconds` how long it took."""

    def __init__(
        self, name: str, function: Function, timeout: float, clock: Callable[[], float], over: Callable[[], object]
    ) -> None:
        self._function = function
        self._timeout = timeout
        self._clock = clock
        self._over = over
        self.started = clock()
        self.seconds = 0.0
        self.result: Result | None = None
        try:
            start_thread(self._run, f"otel-forge health {name}")
        except RuntimeError as error:  # no thread to be had
            self.result = Result(FAIL, str(error), reason="no thread")

    def _run(self) -> None:
        suppress_in_this_thread()
        try:
            answer = self._function()
            result = result_of(awaited(answer, self._timeout) if isawaitable(answer) else answer)
        except BaseException as error:  # noqa: BLE001 - the application's function may raise whatever it likes
            result = result_of_error(error)
        self.seconds = self._clock() - self.started
        self.result = result
        self._over()


def start_thread(run: Callable[[], object], name: str) -> threading.Thread:
    """Start a daemon thread in an empty context: it belongs to no request, whoever happens to start it.

    Raises RuntimeError if the process can have no more threads.
    """
    thread = threading.Thread(target=run, name=name, daemon=True)
    contextvars.Context().run(thread.start)
    return thread


def awaited(answer: Awaitable[Any], timeout: float) -> Any:
    """Return what a coroutine function comes to; it is cancelled after `timeout` seconds."""
    import asyncio

    async def wait() -> Any:
        suppress_in_this_thread()
        try:
            return await asyncio.wait_for(answer, timeout)
        except asyncio.TimeoutError as error:  # not the built-in one before Python 3.11
            raise TimeoutError(str(error) or f"no answer within {timeout:g} s") from None

    if is_under_gevent():
        return import_module("gevent").get_hub().threadpool.apply(asyncio.run, (wait(),))
    return asyncio.run(wait())


def is_under_gevent() -> bool:
    """Return whether gevent has made greenlets of threads."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))
