"""Sentry, as one more place that sees the same errors: initialised by us where the settings say so, else joined.

There is one trace, that of OpenTelemetry. Sentry's own Flask and logging integrations find errors; its tracing stays
off, so it sends no transactions, and its propagation is taken away, so outgoing requests carry W3C headers only. A
client that the application makes itself gets the same link and the same redaction when Sentry learns of it; what the
application asked of it, tracing included, stays.

Nothing is imported until somebody uses sentry-sdk: the import takes longer than all of our start-up.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from opentelemetry import trace
from opentelemetry.trace import format_span_id, format_trace_id

from otel_forge.errortracking.events import Event, Gate, Redactor
from otel_forge.guard import guard
from otel_forge.import_hooks import when_imported
from otel_forge.notices import notice
from otel_forge.settings import SentrySettings

OWN_LOGGERS = ("opentelemetry", "opentelemetry.*", "otel_forge", "otel_forge.*")
_OTHER_KINDS = ("before_send_transaction", "before_send_log", "before_send_metric")
_EVERYWHERE = [".*"]

_own_client: Any = None
_own_settings: SentrySettings | None = None
"""Those of the client that we are making, while we make it."""


def start(settings: SentrySettings) -> None:
    """Report errors to Sentry as `settings` say; join what the application initialises, now or later."""
    when_imported("sentry_sdk.scope", join)
    if not _is_initialised():
        _initialise(settings)


def close(timeout: float) -> None:
    """Send what waits in the client that we made, for at most `timeout` seconds."""
    client, module = _own_client, sys.modules.get("sentry_sdk")
    if client is not None and module is not None:
        client.close(timeout=timeout)


def report(error: BaseException, component: str, context: dict[str, Any]) -> str | None:
    """Send `error` to the Sentry that is initialised, if any, and return the id of the event."""
    module = sys.modules.get("sentry_sdk")
    if module is None or not _is_initialised():
        return None
    _pass_through_gate(module.get_client())  # where telemetry was not started, nobody has joined it
    with module.new_scope() as scope:
        scope.set_tag("component", component)
        for name, value in context.items():
            scope.set_extra(name, value)
        event_id: str | None = module.capture_exception(error)
        return event_id


def breadcrumb(category: str, message: str, level: str, data: dict[str, Any]) -> None:
    """Leave a breadcrumb for the next event, where Sentry is initialised."""
    module = sys.modules.get("sentry_sdk")
    if module is not None and _is_initialised():
        module.add_breadcrumb(category=category, message=message, level=level, data=data)


def _is_initialised() -> bool:
    module = sys.modules.get("sentry_sdk")
    return module is not None and hasattr(module, "is_initialized") and bool(module.is_initialized())


def _initialise(settings: SentrySettings) -> None:
    global _own_client, _own_settings
    try:
        import sentry_sdk
    except ImportError:
        notice("SENTRY_DSN is set, but sentry-sdk is not installed: pip install 'otel-forge[sentry]'.")
        return
    _own_settings = settings
    try:
        sentry_sdk.init(
            dsn=settings.dsn,
            environment=settings.environment,
            release=settings.release or None,
            trace_propagation_targets=[],
            auto_session_tracking=False,
        )
    except Exception as error:  # noqa: BLE001 - a bad DSN, and whatever else init does not like
        notice(f"SENTRY_DSN cannot be used ({type(error).__name__}); errors are not reported to Sentry.")
    else:
        _own_client = sentry_sdk.get_client()
        _own_client.integrations.pop("atexit", None)  # it would wait apart from our exit, and print
    finally:
        _own_settings = None


def join(module: ModuleType) -> None:
    """Join the client that is there, and every one that ``sentry_sdk.scope`` (`module`) is given from now on."""
    original: Callable[..., None] = module.Scope.set_client

    @functools.wraps(original)
    def set_client(scope: Any, client: Any = None) -> None:
        original(scope, client)
        with guard("joining the application's Sentry"):
            if client is not None and client.is_active():
                _pass_through_gate(client)

    module.Scope.set_client = set_client
    with guard("joining the application's Sentry"):
        client = module.Scope.get_client()
        if client.is_active():
            _pass_through_gate(client)


def _pass_through_gate(client: Any) -> None:
    """Let all events of `client` pass through a `Gate`; once is enough."""
    options, ours = client.options, _own_settings
    before = options.get("before_send")
    if isinstance(getattr(before, "__self__", None), Gate):
        return
    traces = bool(options.get("traces_sample_rate")) or options.get("traces_sampler") is not None
    gate = Gate(
        _policy,
        before=before,
        sampler=options.get("error_sampler"),
        sample_rate=options.get("sample_rate", 1.0) if ours is None else ours.sample_rate,
        drops_network_errors=ours is not None and not ours.network_errors,
        owns_trace=not traces,
    )
    options["before_send"], options["error_sampler"] = gate.before_send, gate.sample
    for place in (options, options.get("_experiments") or {}):
        for name in _OTHER_KINDS:
            if name in place or name.replace("before_send_", "enable_") + "s" in place:
                place[name] = _then(place.get(name), gate.redacted)
    _ignore_own_loggers()
    if not traces:
        _take_propagation_away(options)


def _policy() -> Redactor:
    from otel_forge.redaction import policy  # where nothing goes to Sentry, nobody needs it

    return policy()


def _then(first: Any, second: Callable[[Event, Any], Event | None]) -> Callable[[Event, Any], Event | None]:
    def both(event: Event, hint: Any) -> Event | None:
        kept = event if first is None else first(event, hint)
        return None if kept is None else second(kept, hint)

    return both


def _ignore_own_loggers() -> None:
    """Keep what telemetry says about itself out of Sentry: a failed export is no error of the application."""
    from sentry_sdk.integrations import logging as integration

    for name in OWN_LOGGERS:
        integration.ignore_logger(name)


def _take_propagation_away(options: dict[str, Any]) -> None:
    """Let outgoing requests carry W3C headers only.

    Newer versions have a hook that stops all their headers (``sentry_sdk.scope.register_external_propagation_context``,
    importable without underscore but undocumented); older ones stop where no target matches.
    """
    if options.get("trace_propagation_targets") in (None, _EVERYWHERE):
        options["trace_propagation_targets"] = []
    register = getattr(sys.modules["sentry_sdk.scope"], "register_external_propagation_context", None)
    if register is not None:
        register(_current_ids)


def _current_ids() -> tuple[str, str] | None:
    with guard("telling Sentry the current span"):  # it calls us in the middle of the application's requests
        context = trace.get_current_span().get_span_context()
        if context.is_valid:
            return format_trace_id(context.trace_id), format_span_id(context.span_id)
    return None
