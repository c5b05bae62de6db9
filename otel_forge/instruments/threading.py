"""Threads and executors go on in the context that they were started in: its span, its baggage, its log fields.

Context variables do not cross ``Thread.start`` or ``ThreadPoolExecutor.submit`` by themselves. Only the OpenTelemetry
context is carried, no other variable of the application's. As upstream's instrumentation does, but for every
subclass of Thread, whatever it overrides, and with nothing to pay where no context is set.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any

from otel_forge.import_hooks import when_imported
from otel_forge.sdk.current import attach, current_context, detach

if TYPE_CHECKING:
    from otel_forge.instruments.core import Core

_EXECUTORS = "concurrent.futures.thread"


class ThreadingInstrument:
    """Carries the context into threads and into the work of executors."""

    def __init__(self) -> None:
        self._is_on = False
        self._patched: list[tuple[type, str, Callable[..., Any], Callable[..., Any]]] = []

    def adopt(self) -> None:
        """Take options over from upstream's instrumentor, which has none."""

    def instrument(self, core: Core | None = None) -> None:
        """Carry from now on; needs no telemetry of its own."""
        if self._is_on:
            return
        self._is_on = True
        self._patch(threading.Thread, "start", _carrying_start)
        when_imported(_EXECUTORS, self._instrument_executors)

    def uninstrument(self) -> None:
        """Put back what was there, unless somebody else has patched it on top."""
        self._is_on = False
        for kind, name, original, ours in self._patched:
            if vars(kind).get(name) is ours:
                setattr(kind, name, original)
        self._patched.clear()

    def _instrument_executors(self, module: ModuleType) -> None:
        if self._is_on:
            self._patch(module.ThreadPoolExecutor, "submit", _carrying_submit)

    def _patch(self, kind: type, name: str, make: Callable[[Any], Any]) -> None:
        original = vars(kind)[name]
        ours = make(original)
        setattr(kind, name, ours)
        self._patched.append((kind, name, original, ours))


def _carrying_start(original: Callable[[Any], None]) -> Callable[[Any], None]:
    """Return what stands in the place of ``Thread.start``."""

    @functools.wraps(original)
    def start(self: Any) -> None:
        context = current_context()
        if not context or _is_pool_worker(self) or "run" in vars(self):
            return original(self)
        self.run = _Run(self, context)
        try:
            return original(self)
        except BaseException:
            vars(self).pop("run", None)  # started already, or no thread to be had
            raise

    return start


class _Run:
    """Stands for the ``run`` of one thread; it is gone as soon as that is called."""

    __slots__ = ("_context", "_thread")

    def __init__(self, thread: Any, context: Any) -> None:
        self._thread = thread
        self._context = context

    def __call__(self, *_: Any) -> None:  # sentry-sdk, which wraps what it finds as `run`, passes the thread
        thread = self._thread
        del thread.run  # so that nothing keeps the thread, or the request that started it, alive
        token = attach(self._context)
        self._context = None
        try:
            thread.run()
        finally:
            detach(token)


def _is_pool_worker(thread: Any) -> bool:
    """Return whether `thread` serves an executor: it does the work of many requests, each in a context of its own."""
    target = getattr(thread, "_target", None)
    return getattr(target, "__module__", "") == _EXECUTORS


def _carrying_submit(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return what stands in the place of ``ThreadPoolExecutor.submit``."""

    @functools.wraps(original)
    def submit(self: Any, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        context = current_context()
        if not context:
            return original(self, fn, *args, **kwargs)
        return original(self, _Work(fn, context), *args, **kwargs)

    return submit


class _Work:
    """Calls a function in a context."""

    __slots__ = ("__wrapped__", "_context")

    def __init__(self, function: Callable[..., Any], context: Any) -> None:
        self.__wrapped__ = function
        self._context = context

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        token = attach(self._context)
        try:
            return self.__wrapped__(*args, **kwargs)
        finally:
            detach(token)
