"""The rules of this process."""

from __future__ import annotations

from contextvars import Context
from threading import Lock, Thread

from otel_forge.alerts.rule import AlertRule
from otel_forge.fork import on_fork_in_child
from otel_forge.metrics import traffic

_rules: dict[str, AlertRule] = {}
_lock = Lock()
_is_waiting = False
"""Whether alerts are to be started when this process serves requests."""


def add(*added: AlertRule, replace: bool = False) -> None:
    """Have rules evaluated from now on, in processes that serve requests or in which `alerts.start` was called.

    A name that there is already is a ValueError, and none is added, unless `replace` says to take the new one; adding
    the very same rule again is nothing.
    """
    for rule in added:
        if not isinstance(rule, AlertRule):
            raise TypeError(f"{rule!r} is no AlertRule.")
    global _is_waiting
    with _lock:
        merged = dict(_rules)
        for rule in added:
            if not replace and merged.get(rule.name, rule) != rule:
                raise ValueError(
                    f"There is an alert rule {rule.name!r} already; replace=True puts this one in its place."
                )
            merged[rule.name] = rule
        _rules.update(merged)
        is_first, _is_waiting = not _is_waiting, True
    if is_first:
        traffic.when_serving(_start)


def remove(name: str) -> None:
    """Stop evaluating the rule `name`; one that there is not is no error. If it is firing, it is resolved."""
    with _lock:
        _rules.pop(name, None)


def rules() -> tuple[AlertRule, ...]:
    """Return the rules, in the order in which they were added."""
    with _lock:
        return tuple(_rules.values())


def _start() -> None:
    """Start alerts, on a thread that belongs to no request: what is imported for it takes some 40 ms."""
    thread = Thread(target=_start_here, name="otel-forge alerts start", daemon=True)
    Context().run(thread.start)


def _start_here() -> None:
    from otel_forge.alerts.running import start

    start()


def _begin_anew() -> None:
    """Let go of a lock that another thread of the parent may have held."""
    global _lock
    _lock = Lock()


on_fork_in_child(_begin_anew)
