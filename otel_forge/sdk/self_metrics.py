"""Telemetry about telemetry: the standard metrics of an SDK (``otel.sdk.*``), and ours where there is no standard.

All but the two durations are read from the accounts when metrics are collected, and cost a request nothing. They tell
what is: a span counts as exported when the back end has taken it, and as failed, with the reason, when it is given up,
not when a request failed that will be made again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from otel_forge.delivery.accounts import Account, Accounts, Reason
from otel_forge.delivery.answers import Outcome
from otel_forge.delivery.timing import error_type
from otel_forge.sdk.started import RECORD_AND_SAMPLE, RECORD_ONLY, StartedSpans
from otel_forge.settings import Settings, Signal

SCOPE = "otel_forge.sdk"
DURATION_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
_WORDS: Mapping[Signal, tuple[str, str, str]] = {
    "traces": ("span", "{span}", "spans"),
    "metrics": ("metric_data_point", "{data_point}", "metric data points"),
    "logs": ("log", "{log_record}", "log records"),
}
_EXPORTERS: Mapping[Signal, str] = {"traces": "span", "metrics": "metric", "logs": "log"}
_ALREADY_SHUTDOWN = "already_shutdown"
"""The conventions' word for what comes after the end."""

_FRESH = 1.0
"""Seconds in which one reading of the accounts serves the instruments of one collection."""

Observe = Callable[[], Iterable[tuple[int | float, dict[str, Any]]]]


class SelfMetrics:
    """The instruments of one pipeline; `observe` registers them with a meter.

    `signals` are those that our own pipeline sends; of others only the spans started can be told. `oldest` gives the
    wall-clock second in which the oldest batch held was made.
    """

    def __init__(
        self,
        accounts: Accounts,
        settings: Settings,
        signals: Iterable[Signal],
        started: Callable[[], StartedSpans],
        *,
        oldest: Callable[[Signal], float | None] = lambda signal: None,
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._accounts = accounts
        self._settings = settings
        self._signals = tuple(signals)
        self._started = started
        self._oldest = oldest
        self._wall = wall
        self._clock = clock
        self._reading: Mapping[Signal, Account] = {}
        self._read_at = -_FRESH
        self._operation: Any = None
        self._collection: Any = None
        self._exporter = {signal: _exporter_attributes(settings, signal) for signal in self._signals}

    def observe(self, meter: Meter) -> None:
        """Register all instruments."""
        self._observe_spans(meter)
        for signal in self._signals:
            if signal != "metrics":
                self._observe_processor(meter, signal)
            self._observe_exporter(meter, signal)
        self._observe_delivery(meter)
        self._operation = _histogram(
            meter, "otel.sdk.exporter.operation.duration", "The duration of exporting a batch of telemetry records."
        )
        self._collection = _histogram(
            meter,
            "otel.sdk.metric_reader.collection.duration",
            "The duration of the collect operation of the metric reader.",
        )

    def requested(self, signal: Signal, seconds: float, outcome: Outcome) -> None:
        """Record a request of `signal` that took `seconds`."""
        if self._operation is None:
            return
        attributes = dict(self._exporter[signal])
        if error := error_type(outcome):
            attributes["error.type"] = error
        if outcome.status:
            attributes["http.response.status_code"] = outcome.status
        self._operation.record(seconds, attributes)

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """Record how long the body, a collection, takes; it begins with a fresh reading of the accounts."""
        began = self._clock()
        self._read_at = began - _FRESH
        attributes: dict[str, str] = {
            "otel.component.type": "periodic_metric_reader",
            "otel.component.name": "periodic_metric_reader/0",
        }
        try:
            yield
        except Exception as error:
            attributes["error.type"] = type(error).__qualname__
            raise
        finally:
            if self._collection is not None:
                self._collection.record(self._clock() - began, attributes)

    # -- the standard ones -----------------------------------------------------------------------------------------

    def _observe_spans(self, meter: Meter) -> None:
        def started() -> Iterator[tuple[int, dict[str, Any]]]:
            for origin, result, count in self._started().read():
                yield count, {"otel.span.parent.origin": origin, "otel.span.sampling_result": result}

        _counter(meter, "otel.sdk.span.started", "{span}", "The number of created spans.", started)
        if "traces" in self._signals:
            _level(
                meter,
                "otel.sdk.span.live",
                "{span}",
                "The number of recording spans for which the end operation has not been called yet.",
                self._live,
            )

    def _live(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield the spans that have started and not ended; the ended are read first, so that there are none too few."""
        account = self._accounts.of("traces")
        spans = self._started()
        live = spans.started(RECORD_AND_SAMPLE) - (account.created - account.taken_over)
        yield max(live, 0), {"otel.span.sampling_result": RECORD_AND_SAMPLE}
        if spans.started(RECORD_ONLY):
            yield spans.live_record_only, {"otel.span.sampling_result": RECORD_ONLY}

    def _observe_processor(self, meter: Meter, signal: Signal) -> None:
        word, unit, items = _WORDS[signal]
        component = f"batching_{word}_processor"
        attributes = {"otel.component.type": component, "otel.component.name": f"{component}/0"}
        batch = self._settings.spans if signal == "traces" else self._settings.log_records

        def processed() -> Iterator[tuple[int, dict[str, Any]]]:
            account = self._account(signal)
            yield account.accepted, attributes
            for reason, count in account.turned_away.items():
                cause = _ALREADY_SHUTDOWN if reason is Reason.AFTER_SHUTDOWN else reason.value
                yield count, {**attributes, "error.type": cause}

        if signal == "logs":
            _counter(
                meter,
                "otel.sdk.log.created",
                unit,
                "The number of logs submitted to enabled SDK Loggers.",
                lambda: [(self._account("logs").created - self._account("logs").taken_over, {})],
            )
        _counter(
            meter,
            f"otel.sdk.processor.{word}.processed",
            unit,
            f"The number of {items} for which the processing has finished, either successful or failed.",
            processed,
        )
        _level(
            meter,
            f"otel.sdk.processor.{word}.queue.size",
            unit,
            f"The number of {items} in the queue.",
            lambda: [(self._account(signal).waiting, attributes)],
        )
        _level(
            meter,
            f"otel.sdk.processor.{word}.queue.capacity",
            unit,
            f"The maximum number of {items} the queue can hold.",
            lambda: [(batch.max_queue_size, attributes)],
        )

    def _observe_exporter(self, meter: Meter, signal: Signal) -> None:
        word, unit, items = _WORDS[signal]
        attributes = self._exporter[signal]

        def exported() -> Iterator[tuple[int, dict[str, Any]]]:
            account = self._account(signal)
            yield account.delivered, attributes
            for reason, count in account.dropped.items():
                failed = count if signal == "metrics" else count - account.turned_away.get(reason, 0)
                if failed:
                    yield failed, {**attributes, "error.type": reason.value}

        _counter(
            meter,
            f"otel.sdk.exporter.{word}.exported",
            unit,
            f"The number of {items} for which the export has finished, either successful or failed.",
            exported,
        )
        _level(
            meter,
            f"otel.sdk.exporter.{word}.inflight",
            unit,
            f"The number of {items} which were passed to the exporter, but that have not been exported yet.",
            lambda: [(self._account(signal).held - self._account(signal).waiting, attributes)],
        )

    # -- ours ------------------------------------------------------------------------------------------------------

    def _observe_delivery(self, meter: Meter) -> None:
        def by_signal(value: Callable[[Account], int]) -> Observe:
            return lambda: [(value(self._account(signal)), {"signal": signal}) for signal in self._signals]

        def dropped() -> Iterator[tuple[int, dict[str, Any]]]:
            for signal in self._signals:
                for reason, count in self._account(signal).dropped.items():
                    yield count, {"signal": signal, "reason": reason.value}

        def age() -> Iterator[tuple[float, dict[str, Any]]]:
            for signal in self._signals:
                oldest = self._oldest(signal)
                yield 0.0 if oldest is None else max(self._wall() - oldest, 0.0), {"signal": signal}

        _counter(meter, "otel_forge.dropped", "{item}", "Items that were given up, by reason.", dropped)
        _counter(
            meter,
            "otel_forge.taken_over",
            "{item}",
            "Items that dead processes had left in the spool and this one took over.",
            by_signal(lambda account: account.taken_over),
        )
        _level(
            meter,
            "otel_forge.spool.items",
            "{item}",
            "Items in the spool on disk.",
            by_signal(lambda account: account.on_disk),
        )
        _level(
            meter,
            "otel_forge.spool.size",
            "By",
            "Bytes of requests in the spool on disk.",
            by_signal(lambda account: account.in_bytes.on_disk),
        )
        meter.create_observable_gauge(
            "otel_forge.spool.age", [_callback(age)], "s", "The age of the oldest batch that waits to be delivered."
        )

    def _account(self, signal: Signal) -> Account:
        """Return the reading of this collection, so that its metrics add up."""
        now = self._clock()
        if now - self._read_at >= _FRESH:
            self._reading, self._read_at = self._accounts.read(), now
        return self._reading[signal]


def _exporter_attributes(settings: Settings, signal: Signal) -> dict[str, Any]:
    otlp = settings.otlp[signal]
    kind = "grpc" if otlp.protocol == "grpc" else "http"
    component = f"otlp_{kind}_{_EXPORTERS[signal]}_exporter"
    parts = urlsplit(otlp.endpoint)
    attributes: dict[str, Any] = {"otel.component.type": component, "otel.component.name": f"{component}/0"}
    if parts.hostname:
        attributes["server.address"] = parts.hostname
        attributes["server.port"] = parts.port or (443 if parts.scheme == "https" else 80)
    return attributes


def _callback(observe: Observe) -> Callable[[CallbackOptions], Iterable[Observation]]:
    return lambda options: [Observation(value, attributes) for value, attributes in observe()]


def _counter(meter: Meter, name: str, unit: str, description: str, observe: Observe) -> None:
    meter.create_observable_counter(name, [_callback(observe)], unit, description)


def _level(meter: Meter, name: str, unit: str, description: str, observe: Observe) -> None:
    meter.create_observable_up_down_counter(name, [_callback(observe)], unit, description)


def _histogram(meter: Meter, name: str, description: str) -> Any:
    return meter.create_histogram(name, "s", description, explicit_bucket_boundaries_advisory=DURATION_BOUNDS)
