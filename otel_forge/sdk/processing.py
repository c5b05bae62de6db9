"""What the providers of spans and of log records share: processors of others, the resource, flushing and the end."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from threading import Lock
from time import monotonic
from typing import Any, Generic, Protocol, TypeVar

from opentelemetry.sdk.resources import Resource

from otel_forge.guard import guard
from otel_forge.sdk.limits import RecordLimits


class Speaker(Protocol):
    """A tracer or logger, which keeps what it needs of its provider at hand."""

    def take_over(self) -> None:
        """Take what may change in the life of a provider."""


P = TypeVar("P", bound=Any)


class ProcessingProvider(Generic[P]):
    """A provider whose records go to a queue, and to processors of type `P` that others add."""

    def __init__(
        self,
        resource: Resource,
        limits: RecordLimits | None,
        flush: Callable[[float], bool],
        close: Callable[[], None],
    ) -> None:
        self.resource = resource
        self.limits = limits or RecordLimits()
        self._flush = flush
        self._close = close
        self._processors: tuple[P, ...] = ()
        self._lock = Lock()

    def _speakers(self) -> Iterable[Speaker]:
        """Return all tracers or loggers."""
        raise NotImplementedError

    def _add(self, processor: P) -> None:
        with self._lock:
            self._processors += (processor,)
        self._refresh()

    def replace_resource(self, resource: Resource) -> None:
        """Speak for `resource` from now on, as a forked child does."""
        self.resource = resource
        self._lock = Lock()
        self._refresh()

    def _refresh(self) -> None:
        for speaker in list(self._speakers()):
            speaker.take_over()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Deliver all that was recorded within the time; return whether that was possible, processors included."""
        deadline = monotonic() + timeout_millis / 1000
        flushed = self._flush(timeout_millis / 1000)
        for processor in self._processors:
            with guard(f"force_flush of {type(processor).__name__}"):
                remaining = max(int((deadline - monotonic()) * 1000), 0)
                flushed = processor.force_flush(remaining) is not False and flushed
        return flushed

    def shutdown(self) -> None:
        """Deliver what is left and stop. What is recorded later is counted as dropped."""
        self._close()
        for processor in self._processors:
            with guard(f"shutdown of {type(processor).__name__}"):
                processor.shutdown()
