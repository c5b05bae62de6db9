"""Context fields: what every record of a request, a job or a block should carry.

They live in the OpenTelemetry context, beside the current span. So they end where it ends (what a request binds is
gone when the request is), and go wherever it goes: into coroutines, and into threads and executors that the
instrument `otel_forge.instruments.threading` looks after.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, ParamSpec, TypeVar

from opentelemetry.context import Context, create_key

from otel_forge.sdk.current import attach, current_context, detach

FIELDS_KEY = create_key("otel_forge.log_fields")
_NONE: Mapping[str, Any] = MappingProxyType({})

P = ParamSpec("P")
R = TypeVar("R")


def context_fields() -> Mapping[str, Any]:
    """Return the fields that records made here and now carry."""
    fields: Any = current_context().get(FIELDS_KEY, _NONE)
    return fields  # type: ignore[no-any-return]


@contextmanager
def log_context(**fields: Any) -> Iterator[None]:
    """Add `fields` to every record that is made in the body, by whatever logger."""
    token = attach(_context_with({**context_fields(), **fields}))
    try:
        yield
    finally:
        detach(token)


def bind_context(**fields: Any) -> None:
    """Add `fields` to every record from here on, to the end of the surrounding request, span or `log_context`."""
    attach(_context_with({**context_fields(), **fields}))


def unbind_context(*names: str) -> None:
    """Take fields away again; those that are not there are no error."""
    attach(_context_with({name: value for name, value in context_fields().items() if name not in names}))


def clear_context() -> None:
    """Take all context fields away."""
    attach(_context_with({}))


def restore_context(fields: Mapping[str, Any]) -> None:
    """Let records carry exactly `fields`, which `context_fields` returned before: for what surrounds a request."""
    if context_fields() is not fields:
        attach(_context_with(fields))


def carry(function: Callable[P, R]) -> Callable[P, R]:
    """Return `function` with the trace and the context fields of this place, to be called in another thread.

    Threads and `concurrent.futures` do that by themselves once telemetry is on; this is for everything else that
    calls a function later: a pool of `multiprocessing`, a queue of your own, a callback.
    """
    context = current_context()

    @functools.wraps(function)
    def carried(*args: P.args, **kwargs: P.kwargs) -> R:
        token = attach(context)
        try:
            return function(*args, **kwargs)
        finally:
            detach(token)

    return carried


def _context_with(fields: Mapping[str, Any]) -> Context:
    return Context({**current_context(), FIELDS_KEY: MappingProxyType(dict(fields))})
