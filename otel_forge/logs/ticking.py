"""One thread that looks once a second at what the log views have to do by the clock."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from otel_forge.fork import on_fork_in_child
from otel_forge.guard import guard

_INTERVAL = 1.0


class Ticking:
    """Calls `actions` every second, in the children of this process, too, until it is stopped."""

    def __init__(self, actions: Sequence[Callable[[], object]], interval: float = _INTERVAL) -> None:
        self._actions = actions
        self._interval = interval
        self._stopped = threading.Event()
        on_fork_in_child(self.start_anew)

    def start(self) -> None:
        """Begin; the thread keeps no process alive."""
        threading.Thread(target=self._run, name="otel-forge-logs", daemon=True).start()

    def stop(self) -> None:
        """End at the next second."""
        self._stopped.set()

    def start_anew(self) -> None:
        """Begin again in a child, which has none of its parent's threads."""
        if not self._stopped.is_set():
            self._stopped = threading.Event()
            self.start()

    def _run(self) -> None:
        stopped = self._stopped
        while not stopped.wait(self._interval):
            for action in self._actions:
                with guard("looking after the log views"):
                    action()
