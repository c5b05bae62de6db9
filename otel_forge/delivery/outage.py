"""The lines that are said while the back end does not answer, and when it does again: with numbers, rarely."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from otel_forge.delivery.accounts import Accounts, in_words
from otel_forge.notices import Rationed, notice
from otel_forge.settings import Signal


class Outage:
    """Tells the user that the back end does not take telemetry, what waits and what is lost, and when that is over.

    The first is said at most once a minute, the second once for each time that the first was said. `hint` returns what
    else to say of an address.
    """

    def __init__(
        self,
        accounts: Accounts,
        ration: Rationed,
        *,
        hint: Callable[[str], str] = lambda address: "",
        say: Callable[[str], None] = notice,
    ) -> None:
        self._accounts = accounts
        self._ration = ration
        self._hint = hint
        self._say = say
        self._is_announced = False

    def noticed(self, address: str, reason: str) -> None:
        """Note that a request to `address` failed for `reason`, and say so if a line is due."""
        if self._ration(lambda: self._line(address, reason)):
            self._is_announced = True

    def over(self, address: str, replayed: Mapping[Signal, int]) -> None:
        """Note that all signals are delivered again, and with them the items in `replayed`, which were kept."""
        if self._is_announced:
            self._is_announced = False
            kept = in_words(replayed)
            self._say(f"{address} takes telemetry again{f': {kept} kept meanwhile are delivered' if kept else ''}.")

    def _line(self, address: str, reason: str) -> str:
        accounts = self._accounts.read()
        dropped = {signal: sum(account.dropped.values()) for signal, account in accounts.items()}
        missing = in_words({signal: account.missing - dropped[signal] for signal, account in accounts.items()})
        lost = in_words(dropped)
        words = f"{missing or 'nothing'} undelivered" + (f", {lost} lost so far" if lost else "")
        return f"{address} does not take telemetry ({reason}): {words}.{self._hint(address)}"
