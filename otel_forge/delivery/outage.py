"""The line that is said while the back end does not answer: with numbers, at most one a minute."""

from __future__ import annotations

from otel_forge.delivery.accounts import Accounts, in_words
from otel_forge.notices import Rationed


class Outage:
    """Tells the user, rarely, that the back end does not take telemetry, and how much has not arrived."""

    def __init__(self, accounts: Accounts, ration: Rationed, *, hint: str = "") -> None:
        self._accounts = accounts
        self._ration = ration
        self._hint = hint

    def noticed(self, address: str, reason: str) -> None:
        """Note that a request to `address` failed for `reason`, and say so if a line is due."""
        self._ration(lambda: self._line(address, reason))

    def _line(self, address: str, reason: str) -> str:
        missing = in_words({signal: account.missing for signal, account in self._accounts.read().items()})
        return f"{address} does not take telemetry ({reason}): {missing or 'nothing'} undelivered.{self._hint}"
