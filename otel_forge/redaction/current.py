"""The policy of this process, which every sink asks, and how to add to it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from otel_forge.notices import notice
from otel_forge.redaction.policy import Policy, build_policy
from otel_forge.redaction.rules import Callback, compiled
from otel_forge.settings import RedactionSettings

_policy = Policy()
_is_chosen = False
_forgetters: list[Callable[[], None]] = []


def policy() -> Policy:
    """Return the policy of this process: on, with the defaults, until another one is installed."""
    return _policy


def is_chosen() -> bool:
    """Whether anybody has set up a policy, or added to the one that is there from the beginning."""
    return _is_chosen


def install(new: Policy) -> None:
    """Make `new` the policy of this process."""
    global _policy, _is_chosen
    _policy, _is_chosen = new, True
    _forget()


def install_from(settings: RedactionSettings) -> None:
    """Make the settings' policy the process's; a callback that cannot be had costs only itself."""
    try:
        install(build_policy(settings))
    except Exception as error:  # noqa: BLE001 - importing the user's module may raise anything
        notice(
            f"OTEL_FORGE_REDACTION_CALLBACK={settings.callback!r} cannot be had "
            f"({type(error).__name__}: {error}); redacting without it."
        )
        install(build_policy(replace(settings, callback="")))


def add(
    *, keys: Iterable[str] = (), patterns: Mapping[str, str] | None = None, callback: Callback | None = None
) -> None:
    """Redact more: values under `keys` (``*`` is a wildcard), what matches `patterns` (class: regular expression).

    `callback` is called with a key (empty for free text) and a text, and returns what shall stand there instead, or
    None; it runs on delivery threads, after all other rules, and should be quick. Raises re.error for a pattern that
    cannot be compiled, or that repeats something that repeats itself.
    """
    global _is_chosen
    _is_chosen = True
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
