"""The current span: where it is kept, read without layers when the context is the standard one.

The public way to read it costs four Python calls. When the runtime context is upstream's own, based on a
context variable, the variable is asked directly; with any other (``OTEL_PYTHON_CONTEXT``), or should
upstream be arranged differently one day, the public functions are used.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar, Token
from typing import Any

from opentelemetry import context as context_api
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, set_span_in_context


def _find_span_key() -> str:
    """Return the key under which a context keeps its span, found by putting one in."""
    return next(iter(set_span_in_context(trace.INVALID_SPAN, Context())))


def _find_variable() -> ContextVar[Context] | None:
    """Return the context variable behind the runtime context, or None if there is none."""
    variable = getattr(getattr(context_api, "_RUNTIME_CONTEXT", None), "_current_context", None)
    if not isinstance(variable, ContextVar):
        return None
    probe = Context({"otel_forge.probe": True})
    token = context_api.attach(probe)
    try:
        return variable if variable.get() is probe else None
    finally:
        context_api.detach(token)


SPAN_KEY = _find_span_key()
_variable = _find_variable()

current_context: Callable[[], Context] = context_api.get_current if _variable is None else _variable.get
attach: Callable[[Context], Token[Context]] = context_api.attach if _variable is None else _variable.set


def detach(token: Token[Context]) -> None:
    """Put back the context that `token` stands for; one of another context is said in the log, as upstream does."""
    if _variable is not None:
        try:
            _variable.reset(token)
        except (ValueError, RuntimeError):
            pass
        else:
            return
    context_api.detach(token)


SUPPRESSED = NonRecordingSpan(trace.INVALID_SPAN_CONTEXT)
"""The current span of a thread that must not make telemetry: recorders that find it record nothing."""


def context_with(span: Any, context: Context) -> Context:
    """Return a copy of `context` in which `span` is the current one."""
    return Context({**context, SPAN_KEY: span})


def suppress_in_this_thread() -> None:
    """Make this thread record nothing from now on, with our recorders and with upstream's instrumentations alike."""
    context = current_context()
    for key in ("_SUPPRESS_INSTRUMENTATION_KEY", "_SUPPRESS_HTTP_INSTRUMENTATION_KEY"):
        name = getattr(context_api, key, None)
        if name is not None:
            context = context_api.set_value(name, True, context)
    attach(context_with(SUPPRESSED, context))
