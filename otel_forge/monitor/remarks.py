"""What the monitor says of what it sees and does nothing about: each thing once when it begins, not at every look."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from otel_forge.monitor import reporting
from otel_forge.monitor.reporting import Reports
from otel_forge.monitor.sampling import Host
from otel_forge.monitor.thresholds import Threshold
from otel_forge.settings import WatchSettings

_LONG_START = 30.0
"""Seconds after which an app that has never answered the probe is mentioned."""


class Remarks:
    """Remarks on one app."""

    def __init__(self, settings: WatchSettings, reports: Reports) -> None:
        self._url = settings.live_url
        self._reports = reports
        self._said: set[str] = set()
        self._thresholds = {
            "cpu": Threshold(settings.cpu),
            "memory": Threshold(settings.memory),
            "disk": Threshold(settings.disk),
        }

    def host(self, host: Host) -> None:
        """Say that a share of the host is too high, and that it is well again."""
        for name, threshold in self._thresholds.items():
            percent: float = getattr(host, name)
            change = threshold.take(percent)
            if change == "high":
                text = f"the host's {name} is at {percent:.0f} %, above {threshold.limit:g} %."
                self._reports.event(reporting.THRESHOLD, logging.WARNING, text, resource=name, percent=percent)
            elif change == "well":
                text = f"the host's {name} is well again, at {percent:.0f} %."
                self._reports.event(reporting.THRESHOLD, logging.INFO, text, resource=name, percent=percent)

    def excuses(self, excuses: Sequence[str]) -> None:
        """Say why silence is no reason for a restart."""
        self._once("excuses", f"{self._reports.service} is not restarted: {'; '.join(excuses)}." if excuses else "")

    def folder(self, problem: str) -> None:
        """Say that processes cannot tell how they do."""
        text = f"heartbeats count for nothing while their folder cannot be written ({problem})."
        self._once("folder", text if problem else "")

    def start(self, waited: float, failure: str) -> None:
        """Say of an app that it has not answered yet, `waited` seconds after its start: the address may be wrong."""
        text = (
            f"{self._reports.service} has run for {waited:.0f} s and has not answered {self._url} yet ({failure}); "
            "until it has, silence is no reason for a restart. Is that its address?"
        )
        self._once("start", text if failure and waited > _LONG_START else "")

    def _once(self, name: str, text: str) -> None:
        if text and name not in self._said:
            self._reports.event(reporting.EXCUSED, logging.WARNING, text)
        (self._said.add if text else self._said.discard)(name)
