"""A rule: when it fires, how bad that is, and what is to be done about it."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from otel_forge.alerts.alert import Alert, check_severity

_LONGEST_NAME = 100
REPEAT = 4 * 3600.0
TIMEOUT = 10.0


@dataclass(frozen=True)
class Finding:
    """What a condition found: whether it is wrong, and what people should read about it.

    `summary` is one line, `value` the number that was compared, `details` whatever helps besides. Raises TypeError for
    details that are no mapping.
    """

    firing: bool
    summary: str = ""
    value: float | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "firing", bool(self.firing))  # numpy's, say
        if not isinstance(self.details, Mapping):
            raise TypeError(f"details={self.details!r} of a Finding is no mapping.")


Found = bool | Finding
Condition = Callable[[], Found | Awaitable[Found]]
Action = Callable[[Alert], object]


@dataclass(frozen=True)
class AlertRule:
    """One rule; times in seconds. Raises ValueError or TypeError for what cannot be.

    `condition` is a function, sync or async, that returns True when something is wrong, or a `Finding`. It has to hold
    for `for_` seconds before the alert fires, and to be over for `keep_firing_for` seconds before it is resolved.
    `action` is called with the `Alert` when it fires, once. While it goes on firing, people are told again every
    `repeat` seconds (0 for never). `timeout` bounds each call of condition and action. `links` (title: address) and
    `description` go out with each notification.
    """

    name: str
    condition: Condition
    severity: str = "medium"
    action: Action | None = None
    for_: float = 0.0
    keep_firing_for: float = field(default=0.0, kw_only=True)
    repeat: float = field(default=REPEAT, kw_only=True)
    timeout: float = field(default=TIMEOUT, kw_only=True)
    description: str = field(default="", kw_only=True)
    links: Mapping[str, str] = field(default_factory=dict, kw_only=True)

    def __post_init__(self) -> None:
        _check_name(self.name)
        check_severity(self.severity)
        if not callable(self.condition):
            raise TypeError(f"The condition of the alert rule {self.name!r} is {self.condition!r}; give it a function.")
        if self.action is not None and not callable(self.action):
            raise TypeError(f"The action of the alert rule {self.name!r} is {self.action!r}; give it a function.")
        for what in ("for_", "keep_firing_for", "repeat"):
            _check_seconds(self.name, what, getattr(self, what))
        _check_seconds(self.name, "timeout", self.timeout, above=True)
        for title, address in self.links.items():
            _check_link(self.name, title, address)


def _check_name(name: Any) -> None:
    if not isinstance(name, str) or not name.strip() or len(name) > _LONGEST_NAME or not name.isprintable():
        raise ValueError(f"{name!r} is no name of an alert rule: 1 to {_LONGEST_NAME} printable characters.")


def _check_seconds(rule: str, what: str, seconds: Any, *, above: bool = False) -> None:
    is_number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool) and math.isfinite(seconds)
    if not is_number or seconds < 0 or (above and seconds == 0):
        allowed = "above 0" if above else "from 0"
        raise ValueError(f"{what}={seconds!r} of the alert rule {rule!r} is not a number of seconds {allowed}.")


def _check_link(rule: str, title: Any, address: Any) -> None:
    parts = urlsplit(address) if isinstance(address, str) else None
    if not isinstance(title, str) or parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"The link {title!r}: {address!r} of the alert rule {rule!r} is no http or https address.")
