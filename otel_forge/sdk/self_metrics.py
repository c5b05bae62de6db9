"""Telemetry about telemetry: the standard metrics of an SDK (``otel.sdk.*``), and ours where there is no standard.

All but the two durations are read from the accounts when metrics are collected, and cost a request nothing. They tell
what is: a span counts as exported when the back end has taken it, and as failed, with the reason, when it is given up,
not when a request failed that will be made again.

There are some 25 of them in each collection, so they do not go through the SDK's instruments, which would take longer
than to deliver a thousand records: names and attributes are encoded once, and a collection puts the numbers in. Where
somebody else reads metrics, or views may change them, they are instruments like any others.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import time_ns
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

from opentelemetry.metrics import CallbackOptions, Meter, Observation
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from otel_forge.delivery.accounts import Account, Accounts, Reason
from otel_forge.delivery.answers import Outcome
from otel_forge.delivery.batch import Fragment
from otel_forge.delivery.timing import error_type
from otel_forge.fork import on_fork_in_child
from otel_forge.guard import guard
from otel_forge.otlp.encode_metrics import PreparedMetric
from otel_forge.sdk.started import RECORD_AND_SAMPLE, RECORD_ONLY, StartedSpans
from otel_forge.settings import Settings, Signal
from otel_forge.version import VERSION

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

_SCOPE = InstrumentationScope(SCOPE, VERSION)
_FRESH = 1.0
"""Seconds in which one reading of the accounts serves the instruments of one collection."""

Observe = Callable[[], Iterable[tuple[int | float, dict[str, Any]]]]
"""Yields values with their attributes, which are the same objects at each call."""


class _Definition(NamedTuple):
    """One metric that is read from what others count."""

    kind: Literal["counter", "level", "gauge"]
    name: str
    unit: str
    description: str
    observe: Observe

    def register(self, meter: Meter) -> None:
        """Make an instrument of it."""
        create: Mapping[str, Callable[..., object]] = {
            "counter": meter.create_observable_counter,
            "level": meter.create_observable_up_down_counter,
            "gauge": meter.create_observable_gauge,
        }
        create[self.kind](self.name, [self._observations], self.unit, self.description)

    def _observations(self, options: CallbackOptions) -> Iterable[Observation]:
        return [Observation(value, attributes) for value, attributes in self.observe()]

    def prepare(self) -> PreparedMetric:
        """Return what encodes it."""
        is_sum, is_monotonic = self.kind != "gauge", self.kind == "counter"
        return PreparedMetric(self.name, self.description, self.unit, is_sum=is_sum, is_monotonic=is_monotonic)


class SelfMetrics:
    """The metrics of one pipeline; `observe` has them collected with a meter's, or by `collect`.

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
        self._sets: dict[tuple[tuple[str, Any], ...], dict[str, Any]] = {}
        self._prepared: Sequence[tuple[PreparedMetric, Observe]] = ()
        self._renew()
        on_fork_in_child(self._renew)

    def _renew(self) -> None:
        self._since = time_ns()

    def observe(self, meter: Meter, *, directly: bool = False) -> None:
        """Register all metrics with `meter`; if `directly`, only the durations, and the others come by `collect`."""
        if directly:
            self._prepared = [(definition.prepare(), definition.observe) for definition in self._definitions()]
        else:
            self._register(meter)
        self._operation = _histogram(
            meter, "otel.sdk.exporter.operation.duration", "The duration of exporting a batch of telemetry records."
        )
        self._collection = _histogram(
            meter,
            "otel.sdk.metric_reader.collection.duration",
            "The duration of the collect operation of the metric reader.",
        )

    def hand_over(self, meter: Meter) -> None:
        """Have what `collect` returns collected with the metrics of `meter` from now on."""
        if self._prepared:
            self._prepared = ()
            self._register(meter)

    def _register(self, meter: Meter) -> None:
        for definition in self._definitions():
            definition.register(meter)

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

    def collect(self) -> list[Fragment]:
        """Return the metrics of this moment, encoded; none if they are registered with a meter."""
        fragments: list[Fragment] = []
        with guard("observing telemetry itself"):
            now = time_ns()
            for prepared, observe in self._prepared:
                data, points = prepared.encode(observe(), self._since, now)
                if points:
                    fragments.append((_SCOPE, data, points))
        return fragments

    def _attributes(self, *pairs: tuple[str, Any]) -> dict[str, Any]:
        """Return the attributes in `pairs`, of which there are few: always the same object, as the encoder needs it."""
        known = self._sets.get(pairs)
        if known is None:
            known = self._sets[pairs] = dict(pairs)
        return known

    def _definitions(self) -> Iterator[_Definition]:
        yield from self._of_spans()
        for signal in self._signals:
            if signal != "metrics":
                yield from self._of_processor(signal)
            yield from self._of_exporter(signal)
        yield from self._of_delivery()

    # -- the standard ones -----------------------------------------------------------------------------------------

    def _of_spans(self) -> Iterator[_Definition]:
        def started() -> Iterator[tuple[int, dict[str, Any]]]:
            for origin, result, count in self._started().read():
                yield (
                    count,
                    self._attributes(("otel.span.parent.origin", origin), ("otel.span.sampling_result", result)),
                )

        yield _Definition("counter", "otel.sdk.span.started", "{span}", "The number of created spans.", started)
        if "traces" in self._signals:
            yield _Definition(
                "level",
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
        yield max(live, 0), self._attributes(("otel.span.sampling_result", RECORD_AND_SAMPLE))
        if spans.started(RECORD_ONLY):
            yield spans.live_record_only, self._attributes(("otel.span.sampling_result", RECORD_ONLY))

    def _of_processor(self, signal: Signal) -> Iterator[_Definition]:
        word, unit, items = _WORDS[signal]
        component = f"batching_{word}_processor"
        attributes = {"otel.component.type": component, "otel.component.name": f"{component}/0"}
        batch = self._settings.spans if signal == "traces" else self._settings.log_records

        def processed() -> Iterator[tuple[int, dict[str, Any]]]:
            account = self._account(signal)
            yield account.accepted, attributes
            for reason, count in account.turned_away.items():
                cause = _ALREADY_SHUTDOWN if reason is Reason.AFTER_SHUTDOWN else reason.value
                yield count, self._attributes(*attributes.items(), ("error.type", cause))

        if signal == "logs":
            yield _Definition(
                "counter",
                "otel.sdk.log.created",
                unit,
                "The number of logs submitted to enabled SDK Loggers.",
                lambda: [(self._account("logs").created - self._account("logs").taken_over, {})],
            )
        yield _Definition(
            "counter",
            f"otel.sdk.processor.{word}.processed",
            unit,
            f"The number of {items} for which the processing has finished, either successful or failed.",
            processed,
        )
        yield _Definition(
            "level",
            f"otel.sdk.processor.{word}.queue.size",
            unit,
            f"The number of {items} in the queue.",
            lambda: [(self._account(signal).waiting, attributes)],
        )
        yield _Definition(
            "level",
            f"otel.sdk.processor.{word}.queue.capacity",
            unit,
            f"The maximum number of {items} the queue can hold.",
            lambda: [(batch.max_queue_size, attributes)],
        )

    def _of_exporter(self, signal: Signal) -> Iterator[_Definition]:
        word, unit, items = _WORDS[signal]
        attributes = self._exporter[signal]

        def exported() -> Iterator[tuple[int, dict[str, Any]]]:
            account = self._account(signal)
            yield account.delivered, attributes
            for reason, count in account.dropped.items():
                failed = count if signal == "metrics" else count - account.turned_away.get(reason, 0)
                if failed:
                    yield failed, self._attributes(*attributes.items(), ("error.type", reason.value))

        yield _Definition(
            "counter",
            f"otel.sdk.exporter.{word}.exported",
            unit,
            f"The number of {items} for which the export has finished, either successful or failed.",
            exported,
        )
        yield _Definition(
            "level",
            f"otel.sdk.exporter.{word}.inflight",
            unit,
            f"The number of {items} which were passed to the exporter, but that have not been exported yet.",
            lambda: [(self._account(signal).held - self._account(signal).waiting, attributes)],
        )

    # -- ours ------------------------------------------------------------------------------------------------------

    def _of_delivery(self) -> Iterator[_Definition]:
        def by_signal(value: Callable[[Account], int]) -> Observe:
            return lambda: [
                (value(self._account(signal)), self._attributes(("signal", signal))) for signal in self._signals
            ]

        def dropped() -> Iterator[tuple[int, dict[str, Any]]]:
            for signal in self._signals:
                for reason, count in self._account(signal).dropped.items():
                    yield count, self._attributes(("signal", signal), ("reason", reason.value))

        def age() -> Iterator[tuple[float, dict[str, Any]]]:
            for signal in self._signals:
                oldest = self._oldest(signal)
                seconds = 0.0 if oldest is None else max(self._wall() - oldest, 0.0)
                yield seconds, self._attributes(("signal", signal))

        yield _Definition("counter", "otel_forge.dropped", "{item}", "Items that were given up, by reason.", dropped)
        yield _Definition(
            "counter",
            "otel_forge.taken_over",
            "{item}",
            "Items that dead processes had left in the spool and this one took over.",
            by_signal(lambda account: account.taken_over),
        )
        yield _Definition(
            "level",
            "otel_forge.spool.items",
            "{item}",
            "Items in the spool on disk.",
            by_signal(lambda account: account.on_disk),
        )
        yield _Definition(
            "level",
            "otel_forge.spool.size",
            "By",
            "Bytes of requests in the spool on disk.",
            by_signal(lambda account: account.in_bytes.on_disk),
        )
        yield _Definition(
            "gauge", "otel_forge.spool.age", "s", "The age of the oldest batch that waits to be delivered.", age
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


def _histogram(meter: Meter, name: str, description: str) -> Any:
    return meter.create_histogram(name, "s", description, explicit_bucket_boundaries_advisory=DURATION_BOUNDS)
