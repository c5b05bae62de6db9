"""The way out: at process exit everything that is left is sent, all signals at once, within one budget.

A process ends in two ways that Python tells us about: a normal exit (``atexit``) and SIGTERM. For the
second a handler is installed only where nobody else has one, in the main thread; it sends what is left
and then lets the default action happen, so that the exit status stays what it would have been.
"""

from __future__ import annotations

import atexit
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from threading import Lock, Thread, current_thread, main_thread
from types import FrameType

from otel_forge.delivery.accounts import Accounts, in_words
from otel_forge.guard import guard
from otel_forge.notices import notice
from otel_forge.settings import SIGNALS, Signal


class Exit:
    """Closes the pipeline once, in parallel, within `budget` seconds, and says what could not be sent."""

    def __init__(
        self,
        closers: Mapping[str, Callable[[], object]],
        accounts: Accounts,
        budget: float,
        explain: Callable[[Signal], str] = lambda signal: "",
        say: Callable[[str], None] = notice,
    ) -> None:
        self._closers = closers
        self._accounts = accounts
        self._budget = budget
        self._explain = explain
        self._say = say
        self._reset()

    def _reset(self) -> None:
        self._gate = Lock()  # taken by the first close and never given back: a signal handler can't wait for it

    def install(self, *, sigterm: bool) -> None:
        """Close at normal exit and, with `sigterm`, on a SIGTERM that nobody else handles."""
        atexit.register(self.close)
        os.register_at_fork(after_in_child=self._reset)
        if sigterm and current_thread() is main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, self._on_sigterm)

    def close(self) -> None:
        """Send what is left and stop; the second call does nothing. Never raises, never waits beyond the budget."""
        if not self._gate.acquire(blocking=False):
            return
        with guard("sending what was left at exit"):
            lost_before = {name: account.lost for name, account in self._accounts.read().items()}
            _run_in_parallel(list(self._closers.values()), self._budget)
            self._say_what_is_missing(lost_before)

    def _say_what_is_missing(self, lost_before: Mapping[Signal, int]) -> None:
        """Say what could not be sent now, and apart from it what had been lost while the process ran."""
        accounts = self._accounts.read()
        left = {name: max(account.missing - lost_before[name], 0) for name, account in accounts.items()}
        sentences = []
        if words := in_words(left):
            reasons = dict.fromkeys(self._explain(name) for name in SIGNALS if left[name])
            why = "; ".join(reason for reason in reasons if reason)
            sentences.append(f"{words} could not be sent{f' ({why})' if why else ''}.")
        if words := in_words(lost_before):
            sentences.append(f"Lost earlier, while telemetry was not taken: {words}.")
        if sentences:
            self._say(f"exit: {' '.join(sentences)}")

    def _on_sigterm(self, number: int, frame: FrameType | None) -> None:
        self.close()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)


def _run_in_parallel(closers: Sequence[Callable[[], object]], budget: float) -> None:
    deadline = time.monotonic() + budget
    threads = [Thread(target=_guarded, args=(closer,), name="otel-forge-exit", daemon=True) for closer in closers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(deadline - time.monotonic(), 0))


def _guarded(closer: Callable[[], object]) -> None:
    with guard("closing one signal at exit"):
        closer()
