"""What the monitor says: lines on the terminal, log events, metrics, annotations; and the telemetry that carries them.

The monitor is a service of its own, ``<service>-watch``: under the app's name it would hide the app's silence from
whoever looks for it.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from opentelemetry import _logs, metrics
from opentelemetry._logs import SeverityNumber

from otel_forge.environment import overlaid
from otel_forge.logs.record import FIELDS
from otel_forge.monitor.annotating import Annotations
from otel_forge.monitor.judging import Evidence
from otel_forge.monitor.measuring import Measures
from otel_forge.notices import notice
from otel_forge.otlp.exporters import SCRAPE
from otel_forge.settings import Settings

LOGGER = "otel_forge.watch"
"""For log files and views. Telemetry has no ear for our own loggers, so it is given each event by its API."""
_SEVERITIES = {logging.INFO: SeverityNumber.INFO, logging.WARNING: SeverityNumber.WARN}
RESTART, GIVEN_UP, DECLINED = "otel_forge.restart", "otel_forge.restart.given_up", "otel_forge.restart.declined"
THRESHOLD, ENDED, EXCUSED = "otel_forge.watch.threshold", "otel_forge.watch.ended", "otel_forge.watch.excused"


@dataclass(frozen=True)
class GivenUp:
    """Told to whoever must know that restarts have not helped, or cannot be had."""

    service: str
    evidence: Evidence
    incident: Path | None
    restarts: int


class Reports:
    """Says what happens to the app `service`; `say` is the terminal, None where a view of logs shows it anyway."""

    def __init__(
        self,
        service: str,
        measures: Measures,
        annotations: Annotations,
        say: Callable[[str], object] | None = notice,
    ) -> None:
        self.service = service
        self.measures = measures
        self.annotations = annotations
        self._say = say
        self._events = _logs.get_logger("otel_forge.monitor")
        self._log = logging.getLogger(LOGGER)
        if not self._log.handlers:
            self._log.addHandler(logging.NullHandler())  # else logging's last resort would say warnings a second time

    def event(self, name: str, level: int, text: str, **attributes: Any) -> None:
        """Log an event, and say it on the terminal."""
        known = {"service": self.service, **attributes}
        named = {f"otel_forge.watch.{key}": value for key, value in known.items() if value is not None}
        severity = _SEVERITIES.get(level, SeverityNumber.ERROR)
        self._events.emit(
            timestamp=time.time_ns(),
            severity_number=severity,
            severity_text=severity.name,
            body=text,
            attributes=named,
            event_name=name,
        )
        self._log.log(level, "%s", text, extra={FIELDS: {"otel.event.name": name, **named}})
        if self._say is not None:
            self._say(f"watch: {text}")

    def restart(self, evidence: Evidence, number: int, incident: Path | None) -> None:
        """Report a restart in every way there is."""
        whom = self.service if evidence.pid is None else f"worker {evidence.pid} of {self.service}"
        kept = f" What was known is in {incident}." if incident else ""
        text = f"restarting {whom} (restart {number}): {evidence.detail}.{kept}"
        self.event(
            RESTART,
            logging.WARNING,
            text,
            reason=evidence.reason,
            evidence=evidence.detail,
            incident=None if incident is None else str(incident),
            attempt=number,
            pid=evidence.pid,
        )
        self.measures.count_restart(evidence.reason)
        self.annotate(f"Restart of {whom}: {evidence.detail}", evidence.reason)

    def given_up(self, told: GivenUp, why: str) -> None:
        """Report that the app is sick and will not be restarted."""
        self.measures.given_up = True
        self.event(
            GIVEN_UP,
            logging.ERROR,
            f"{self.service} is not restarted any more, {why}: {told.evidence.detail}. Somebody has to look at it.",
            reason=told.evidence.reason,
            evidence=told.evidence.detail,
            incident=None if told.incident is None else str(told.incident),
            restarts=told.restarts,
        )
        self.annotate(f"{self.service} is not restarted any more: {told.evidence.detail}", "given-up")

    def annotate(self, text: str, reason: str) -> None:
        """Put an annotation into Grafana."""
        self.annotations.add(text, self.tags(reason))

    def tags(self, reason: str) -> Sequence[str]:
        """Return the tags by which dashboards find annotations of restarts."""
        return "otel-forge", "restart", self.service, reason


def start_telemetry(settings: Settings, service: str, folder: Path) -> bool:
    """Turn the monitor's own telemetry on, where that is wanted; return whether it is on.

    With a declarative configuration file it is not: that names the service that the app is.
    """
    if not settings.watch.telemetry or settings.disabled or settings.config_file:
        return False
    from otel_forge import telemetry  # brings the SDK

    hidden = dict.fromkeys([*settings.rejected, "OTEL_PROPAGATORS"])  # as in `otel_forge.activation`

    with overlaid(os.environ, hidden):
        telemetry.configure(own_settings(settings, service), argv=(), folder=folder, announce=False)
    return True


def own_settings(settings: Settings, service: str) -> Settings:
    """Return the settings of the monitor's telemetry: another name, and no port that the app would want."""
    changes: dict[str, Any] = {
        "service_name": f"{service}-watch",
        "exporters": {
            signal: tuple(name for name in names if name != SCRAPE) for signal, names in settings.exporters.items()
        },
        "sentry": replace(settings.sentry, is_on=False),
        "sigterm_flush": False,
        "watch": replace(settings.watch, folder=None),
        "problems": (),
        "runtime_metrics": False,
    }
    known = {field.name for field in fields(settings)}
    return replace(settings, **{name: value for name, value in changes.items() if name in known})


def build_reports(settings: Settings, service: str, *, has_telemetry: bool) -> Reports:
    """Return reports that go to the telemetry of this process, to Grafana and to the terminal."""
    is_shown = has_telemetry and settings.log_views.view != "off"
    return Reports(
        service,
        Measures(metrics.get_meter("otel_forge.monitor")),
        Annotations(settings.watch.grafana_url, settings.watch.grafana_token, notice),
        None if is_shown else notice,
    )
