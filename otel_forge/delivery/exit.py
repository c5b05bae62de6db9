"""The way out: at process exit everything that is left is sent, all signals at once, within one budget.

A process ends in three ways that Python tells us about: a normal exit (``atexit``), the end of a process forked by
multiprocessing, which knows no atexit, and SIGTERM. For the last a handler is installed only where nobody else has
one, in the main thread; it sends what is left and then lets the default action happen, so that the exit status stays
what it would have been.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
from collections.abc import Callable, Mapping
from functools import partial
from threading import Lock, current_thread, main_thread
from types import FrameType
from typing import Any

from otel_forge.delivery.accounts import Accounts, in_words
from otel_forge.delivery.parallel import all_at_once
from otel_forge.fork import on_fork_in_child
from otel_forge.guard import guard
from otel_forge.notices import notice
from otel_forge.settings import SIGNALS, Signal


class Exit:
    """Closes the pipeline once, in parallel, within `budget` seconds, and says what could not be sent.

    `explain` gives the reason for a signal, `place` the directory in which what is on the disk is kept.
    """

    def __init__(
        self,
        closers: Mapping[str, Callable[[], object]],
        accounts: Accounts,
        budget: float,
        explain: Callable[[Signal], str] = lambda signal: "",
        say: Callable[[str], None] = notice,
        *,
        place: Callable[[], str] = lambda: "",
    ) -> None:
        self._closers = closers
        self._accounts = accounts
        self._budget = budget
        self._explain = explain
        self._say = say
        self._place = place
        self._joined: set[str] = set()
        self._reset()

    def _reset(self) -> None:
        self._gate = Lock()  # taken by the first close and never given back: a signal handler can't wait for it

    def install(self, *, sigterm: bool) -> None:
        """Close at normal exit and, with `sigterm`, on a SIGTERM that nobody else handles."""
        atexit.register(self.close)
        on_fork_in_child(self._reset)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(before=self._join_pools)
        if sigterm and current_thread() is main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, self._on_sigterm)

    def close(self) -> None:
        """Send what is left and stop; the second call does nothing. Never raises, never waits beyond the budget."""
        if not self._gate.acquire(blocking=False):
            return
        with guard("sending what was left at exit"):
            lost_before = {name: account.lost for name, account in self._accounts.read().items()}
            all_at_once([partial(_guarded, closer) for closer in self._closers.values()], self._budget)
            self._say_what_is_missing(lost_before)

    def _say_what_is_missing(self, lost_before: Mapping[Signal, int]) -> None:
        """Say what is kept, what is lost now, and apart from it what had been lost while the process ran."""
        accounts = self._accounts.read()
        kept = {name: account.on_disk for name, account in accounts.items()}
        left = {name: max(account.missing - kept[name] - lost_before[name], 0) for name, account in accounts.items()}
        sentences = []
        if words := in_words(kept):
            sentences.append(f"{words} kept in {self._place()} for the next start{self._why(kept)}.")
        if words := in_words(left):
            sentences.append(f"{words} could not be sent{self._why(left)}.")
        if words := in_words(lost_before):
            sentences.append(f"Lost earlier, while telemetry was not taken: {words}.")
        if sentences:
            self._say(f"exit: {' '.join(sentences)}")

    def _why(self, counts: Mapping[Signal, int]) -> str:
        reasons = dict.fromkeys(self._explain(name) for name in SIGNALS if counts[name])
        why = "; ".join(reason for reason in reasons if reason)
        return f" ({why})" if why else ""

    def _join_pools(self) -> None:
        """Have processes close as well that end without the functions of atexit: multiprocessing's and Celery's."""
        for name, join in _POOLS.items():
            module = sys.modules.get(name)
            if module is not None and name not in self._joined:
                self._joined.add(name)
                with guard(f"joining {name}"):
                    join(module, self)

    def _on_sigterm(self, number: int, frame: FrameType | None) -> None:
        self.close()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)


def _join_multiprocessing(util: Any, leave: Exit) -> None:
    util.register_after_fork(leave, lambda leave: util.Finalize(None, leave.close, exitpriority=0))


def _join_celery(signals: Any, leave: Exit) -> None:
    signals.worker_process_shutdown.connect(lambda **_: leave.close(), weak=False)


_POOLS: Mapping[str, Callable[[Any, Exit], None]] = {
    "multiprocessing.util": _join_multiprocessing,
    "celery.signals": _join_celery,
}


def _guarded(closer: Callable[[], object]) -> bool:
    with guard("closing one signal at exit"):
        closer()
    return True
