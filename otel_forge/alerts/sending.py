"""Sending messages until they are taken: again after a pause that grows or that the other side names; not for ever."""

from __future__ import annotations

import contextvars
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from otel_forge.alerts.alert import Alert
from otel_forge.sdk.current import suppress_in_this_thread


class NotDelivered(Exception):
    """A message was not taken; `reason` in a few words, without addresses, keys or passwords."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Refused(NotDelivered):
    """It never will be: the message or the settings are wrong."""


class Later(NotDelivered):
    """It may be later, after `retry_after` seconds at the earliest if the other side said so."""

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class Notifier(Protocol):
    """A way to tell people. `name` is that of the setting, `place` where it goes to, without secrets."""

    name: str
    place: str

    def messages(self, alerts: Sequence[Alert]) -> Sequence[Any]:
        """Return the messages that tell of `alerts`, which are presentable."""

    def send(self, message: Any, timeout: float) -> None:
        """Send a message, once, within `timeout` seconds. Raises Later or Refused."""


@dataclass(frozen=True)
class Patience:
    """How long one attempt may take, how long all of them together, and the pauses between them; in seconds.

    A quarter of an hour outlasts a restart, a spell of rate limiting and most outages; a page that comes later is news
    of yesterday, and the log and the repetition of a firing alert remain.
    """

    attempt: float = 10.0
    total: float = 900.0
    first_pause: float = 1.0
    longest_pause: float = 30.0


def _slept(seconds: float) -> bool:
    time.sleep(seconds)
    return True


def deliver(
    notifier: Notifier,
    alerts: Sequence[Alert],
    patience: Patience | None = None,
    *,
    pause: Callable[[float], bool] = _slept,
    clock: Callable[[], float] = time.monotonic,
) -> str:
    """Tell of `alerts`; return why that did not work, or nothing. Never raises, and makes no telemetry.

    `pause` waits, and returns False if there is no point in going on.
    """
    patience = patience or Patience()
    return contextvars.copy_context().run(_deliver_quietly, notifier, alerts, patience, pause, clock)


def _deliver_quietly(
    notifier: Notifier,
    alerts: Sequence[Alert],
    patience: Patience,
    pause: Callable[[float], bool],
    clock: Callable[[], float],
) -> str:
    suppress_in_this_thread()
    deadline = clock() + patience.total
    try:
        messages = notifier.messages(alerts)
    except Exception as error:  # noqa: BLE001 - its text may hold anything: only its kind is said
        return f"the message could not be made ({type(error).__name__})"
    failures = [_persistently(notifier, message, deadline, patience, pause, clock) for message in messages]
    return next(filter(None, failures), "")


def _persistently(
    notifier: Notifier,
    message: Any,
    deadline: float,
    patience: Patience,
    pause: Callable[[float], bool],
    clock: Callable[[], float],
) -> str:
    reason, attempts = "no time left", 0
    while (left := deadline - clock()) > 0:
        try:
            notifier.send(message, min(patience.attempt, left))
            return ""
        except Refused as refusal:
            return refusal.reason
        except Later as delay:
            reason = delay.reason
            wait = max(_pause(patience, attempts), delay.retry_after or 0.0)
        except Exception as error:  # noqa: BLE001 - as above
            return f"it could not be sent ({type(error).__name__})"
        attempts += 1
        if clock() + wait >= deadline:
            return f"{reason}, {attempts} times" if attempts > 1 else reason
        if not pause(wait):
            return reason
    return reason


def _pause(patience: Patience, attempts: int) -> float:
    longest: float = min(patience.first_pause * 2.0 ** min(attempts, 16), patience.longest_pause)
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 - so that many processes do not come back at once
