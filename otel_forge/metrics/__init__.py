"""Metrics: what an application measures, in a line, and what is measured of its process without one.

``from otel_forge import metrics``, then ``metrics.record("asset_load_time", 1234, "ms", asset_type="weapon")``, or an
instrument to keep: ``metrics.counter("assets.loaded", "{asset}")``. Each name is imported when it is first used.
"""

from __future__ import annotations

from otel_forge import lazily

TYPE_CHECKING = False  # which type checkers know; start-up does without the import of typing
if TYPE_CHECKING:
    from otel_forge.metrics.event_loop import watch_event_loop
    from otel_forge.metrics.instruments import (
        Counter,
        Gauge,
        Histogram,
        UpDownCounter,
        counter,
        gauge,
        histogram,
        up_down_counter,
    )
    from otel_forge.metrics.observed import observe
    from otel_forge.metrics.performance import track_performance
    from otel_forge.metrics.recording import record

__all__ = [
    "Counter",
    "Gauge",
    "Histogram",
    "UpDownCounter",
    "counter",
    "gauge",
    "histogram",
    "observe",
    "record",
    "track_performance",
    "up_down_counter",
    "watch_event_loop",
]

_HOMES = {
    "Counter": "instruments",
    "Gauge": "instruments",
    "Histogram": "instruments",
    "UpDownCounter": "instruments",
    "counter": "instruments",
    "gauge": "instruments",
    "histogram": "instruments",
    "observe": "observed",
    "record": "recording",
    "track_performance": "performance",
    "up_down_counter": "instruments",
    "watch_event_loop": "event_loop",
}

__getattr__, __dir__ = lazily.imported(globals(), _HOMES)
