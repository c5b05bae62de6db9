"""The policy of this process, which every sink asks, and how to add to it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from otel_forge.redaction.policy import Policy
from otel_forge.redaction.rules import Callback, compiled

_policy = Policy()
_forgetters: list[Callable[[], None]] = []


def policy() -> Policy:
    """Return the policy of this process: on, with the defaults, until another one is installed."""
    return _policy


def install(new: Policy) -> None:
    """Make `new` the policy of this process."""
    global _policy
    _policy = new
    _forget()


def add(
    *, keys: Iterable[str] = (), patterns: Mapping[str, str] | None = None, callback: Callback | None = None
) -> None:
    """Redact more: values under `keys` (``*`` is a wildcard), what matches `patterns` (class: regular expression).

    `callback` is called with a key (empty for free text) and a text, and returns what shall stand there instead, or
    None; it runs on delivery threads, after all other rules, and should be quick. Raises re.error for a bad pattern.
    """
    rules = _policy.rules
    _policy.replace_rules(
        replace(
            rules,
            keys=(*rules.keys, *(key.lower() for key in keys)),
            patterns={**rules.patterns, **compiled(patterns or {})},
            callback=callback or rules.callback,
        )
    )
    _forget()


def on_change(forget: Callable[[], None]) -> None:
    """Call `forget` whenever the policy changes: for whoever keeps what was made of values."""
    _forgetters.append(forget)


def _forget() -> None:
    for forget in _forgetters:
        forget()
