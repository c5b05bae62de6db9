"""Calls somebody when restarts have not helped: by the notifiers of `otel_forge.alerts`, where some are set up."""

from __future__ import annotations

import socket

from otel_forge.monitor.reporting import GivenUp

_LONGEST_WAIT = 10.0
"""Seconds for which delivery is waited for: watch may be about to end."""


def call(told: GivenUp) -> None:
    """Notify people of an app that is sick and will not be restarted any more."""
    from otel_forge.alerts import Alert, notify
    from otel_forge.alerts.alert import Origin

    notify(
        Alert(
            name="Restarts have not helped",
            severity="critical",
            summary=f"{told.service} is sick and is not restarted any more: {told.evidence.detail}.",
            details={
                "reason": told.evidence.reason,
                "restarts": told.restarts,
                "incident": "" if told.incident is None else str(told.incident),
            },
            origin=Origin(service=told.service, host=socket.gethostname()),
        ),
        wait=_LONGEST_WAIT,
    )
