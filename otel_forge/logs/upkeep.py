"""What start-up sets up for logs, each part where the settings ask for it: levels, flood control, the view.

What is not asked for is not imported.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable

from otel_forge.guard import guard
from otel_forge.logs import flood
from otel_forge.logs.ticking import Ticking
from otel_forge.settings import Settings

_service = ""
_undo: list[Callable[[], object]] = []


def install(settings: Settings, service: str) -> None:
    """Set up flood control, the watch for levels and the view of the service `service`."""
    global _service
    _service = service
    views = settings.log_views
    actions: list[Callable[[], object]] = []
    with guard("setting up flood control"):
        if views.flood is not None:
            actions.append(_control_floods(*views.flood))
    with guard("setting up run-time levels"):
        if views.run_time_levels:
            actions.append(_watch_levels(service))
    with guard("looking after the log views"):
        if actions:
            ticking = Ticking(actions)
            ticking.start()
            _undo.append(ticking.stop)
    with guard("setting up the log view"):
        if views.view != "off":
            from otel_forge.logs import configuration

            configuration.show(settings, service)
            _undo.append(configuration.unconfigure_logging)


def service() -> str:
    """Return the name of the service that telemetry was started for; empty if it was not."""
    return _service


def uninstall() -> None:
    """Put everything back."""
    while _undo:
        _undo.pop()()


def _control_floods(limit: int, seconds: float) -> Callable[[], object]:
    """Hold floods back, in our views and in telemetry; return what is to be done every second."""
    control = flood.FloodControl(limit, seconds, counted=_count_suppressed)
    flood.set_current(control)
    atexit.register(flood.say_what_is_left)
    _undo.append(lambda: flood.set_current(None))
    return control.flush


def _watch_levels(service: str) -> Callable[[], object]:
    """Follow changes of levels; return what is to be done every second."""
    from otel_forge.logs.levels import LevelWatch, levels_file

    watch = LevelWatch(levels_file(os.environ), service)
    watch.look()
    _undo.append(watch.close)
    return watch.look


def _count_suppressed(name: str, number: int) -> None:
    """Count suppressed records as a metric of telemetry, by logger."""
    from opentelemetry import metrics

    counter = metrics.get_meter("otel_forge.logs").create_counter(
        "otel_forge.logs.suppressed", "{record}", "Log records that flood control held back."
    )
    counter.add(number, {"log.logger": name})
