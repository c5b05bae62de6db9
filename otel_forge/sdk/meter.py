"""The meter provider of the lean pipeline: upstream's, with instruments that record into our own streams.

Instruments are made by upstream's meters, which know the rules about names and duplicates, and stay of upstream's
classes. What is replaced is the one method that applications call all the time, by `Recorder.record`. It finds the
cells of an attribute set in a table, by names, values and types, and appends the measurement to each.

Other metric readers (a Prometheus scrape endpoint, an exporter of somebody else) are served by upstream, as ever; only
while there are some does upstream's own recording run as well.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from time import time_ns
from typing import Any

from opentelemetry.metrics import Meter, NoOpMeter
from opentelemetry.sdk.metrics import (
    AlwaysOffExemplarFilter,
    AlwaysOnExemplarFilter,
    MeterProvider,
    TraceBasedExemplarFilter,
)
from opentelemetry.sdk.metrics.export import MetricReader
from opentelemetry.sdk.metrics.view import View
from opentelemetry.sdk.resources import Resource

from otel_forge.fork import on_fork_in_child
from otel_forge.guard import guard
from otel_forge.sdk.cells import FOLD_AT, SAMPLED
from otel_forge.sdk.current import SPAN_KEY, current_context
from otel_forge.sdk.streams import CARDINALITY_LIMIT, OVERFLOW, MetricStorage, Placed, most_varied, series_key
from otel_forge.sdk.values import PLAIN, plain
from otel_forge.sdk.views import lowest_of

_EXEMPLAR_FILTERS: Mapping[str, Callable[[], Any]] = {
    "trace_based": TraceBasedExemplarFilter,
    "always_on": AlwaysOnExemplarFilter,
    "always_off": AlwaysOffExemplarFilter,
}
_HIGHEST = sys.float_info.max
_UPSTREAM_HAS_LIMIT = hasattr(View(instrument_name="*"), "_aggregation_cardinality_limit")  # since SDK 1.45.2
_all_plain = PLAIN.issuperset
_ORDERS_KEPT = 2
"""The same attributes in another order take another place in a recorder's table, of so many times the limit."""


class OtherReaders:
    """Who else reads metrics."""

    __slots__ = ("readers",)

    def __init__(self, readers: Sequence[MetricReader]) -> None:
        self.readers = set(readers)


class Recorder:
    """Records what an application measures with one instrument; `upstream` is what the instrument did before."""

    __slots__ = (
        "_always",
        "_first",
        "_is_enabled",
        "_known",
        "_lowest",
        "_mask",
        "_others",
        "_room",
        "_streams",
        "_upstream",
    )

    def __init__(self, instrument: Any, storage: MetricStorage, others: OtherReaders, upstream: Any) -> None:
        self._streams = storage.open(instrument)
        self._always = SAMPLED if storage.exemplars == "always_on" else 0
        self._mask = 0 if storage.exemplars == "always_off" else SAMPLED
        self._lowest = lowest_of(instrument)
        self._is_enabled = getattr(instrument, "_is_enabled", lambda: True)
        self._others = others
        self._upstream = upstream
        self._first = FirstSets()
        self._known: dict[tuple[Any, ...], Sequence[Placed]] = {}
        self._room = _ORDERS_KEPT * max([stream.limit for stream in self._streams], default=1)
        for stream in self._streams:
            stream.forget = self._known.clear

    def record(self, amount: int | float, attributes: Mapping[str, Any] | None = None, context: Any = None) -> None:
        """Record `amount`; what cannot be recorded is said as upstream says it, and never raised."""
        if not self._is_enabled():
            return
        kind = type(amount)
        if (kind is not float and kind is not int) or not self._lowest <= amount <= _HIGHEST:
            usable = self._usable(amount)
            if usable is None:
                return
            amount = usable
        key: tuple[Any, ...] = ()
        try:
            if attributes:
                values = attributes.values()
                key = (*attributes, *values, *map(type, values))
            placed = self._known.get(key)
            if placed is None:
                placed = self._place(key)
        except Exception:  # noqa: BLE001 - no mapping, or one with lists in it: cleaned and looked up the long way
            placed = self._place_unusual(attributes)
        where = self._where(context) if self._mask else None
        for cell, dropped in placed:
            pending = cell.pending
            pending.append(amount if where is None else (amount, *where, dropped))
            if len(pending) >= FOLD_AT or cell.retired:
                self._attend(key, placed)
        if self._others.readers:
            self._record_upstream(amount, attributes, context)

    def _where(self, context: Any) -> tuple[int, int, int] | None:
        """Return trace id, span id and time of a measurement that may become an exemplar; None if it may not."""
        try:
            span: Any = (context or current_context()).get(SPAN_KEY)
            if span is None:
                return (0, 0, time_ns()) if self._always else None
            trace_id, span_id, _, flags, _, _ = span.get_span_context()
        except Exception:  # noqa: BLE001 - not a context, or not a span in it
            return None
        return (trace_id, span_id, time_ns()) if flags & SAMPLED or self._always else None

    def _attend(self, key: tuple[Any, ...], placed: Sequence[Placed]) -> None:
        """Fold cells, and rescue what came too late for the last collection of those that are retired."""
        for stream, (cell, _) in zip(self._streams, placed, strict=True):
            cell.fold()
            if cell.retired:
                self._known.pop(key, None)
                stream.take_in(cell)

    def _place(self, key: tuple[Any, ...]) -> Sequence[Placed]:
        """Return the cells for the names, values and types in `key`, and keep them if each has a series of its own."""
        count = len(key) // 3
        names, values, types = key[:count], key[count : 2 * count], key[2 * count :]
        if not (_all_plain(types) and all(type(name) is str and name for name in names)):
            return self._place_unusual(dict(zip(names, values, strict=True)))
        placed = self._place_plain(dict(zip(names, values, strict=True)))
        if not any(cell.attributes is OVERFLOW for cell, _ in placed):
            if len(self._known) >= self._room:
                self._known.clear()
            self._known[key] = placed
        return placed

    def _place_unusual(self, attributes: Any) -> Sequence[Placed]:
        """Return the cells for attributes that have to be cleaned; none if that fails."""
        with guard("reading the attributes of a measurement"):
            cleaned = plain(attributes) if isinstance(attributes, Mapping) else {}
            return self._place_plain(cleaned)
        return ()

    def _place_plain(self, attributes: Mapping[str, Any]) -> Sequence[Placed]:
        return tuple([stream.place(attributes) for stream in self._streams])

    def _usable(self, amount: Any) -> int | float | None:
        """Return an amount of an unusual type as a plain number; None, and upstream's warning, if it is of no use."""
        with guard("reading a measurement"):
            number = int(amount) if isinstance(amount, int) else float(amount)
            if self._lowest <= number <= _HIGHEST:
                return number
            self._upstream(math.copysign(math.inf, number) if abs(number) > _HIGHEST else number)
        return None

    def _record_upstream(self, amount: int | float, attributes: Any, context: Any) -> None:
        """Record for other readers, within the same limit where upstream has none."""
        with guard("recording for other metric readers"):
            if not _UPSTREAM_HAS_LIMIT and isinstance(attributes, Mapping) and not self._first.has(attributes):
                attributes = OVERFLOW
            self._upstream(amount, attributes, context)


class FirstSets:
    """Remembers the first attribute sets, as many as the default limit: for other readers with an SDK before 1.45.2.

    `tell` is called once, when there are more, with the attribute that has the most values.
    """

    def __init__(self, limit: int = CARDINALITY_LIMIT, tell: Callable[[str], object] = lambda attribute: None) -> None:
        self._limit = limit
        self._tell: Callable[[str], object] | None = tell
        self._seen: set[Any] = set()

    def has(self, attributes: Mapping[str, Any]) -> bool:
        """Return whether `attributes` are among the first."""
        key = series_key(plain(attributes))
        if key in self._seen:
            return True
        if len(self._seen) >= self._limit:
            tell, self._tell = self._tell, None
            if tell is not None:
                tell(most_varied(list(self._seen)))
            return False
        self._seen.add(key)
        return True


class LeanMeter(Meter):
    """A meter of upstream whose instruments are given a `Recorder`."""

    def __init__(self, meter: Any, storage: MetricStorage, others: OtherReaders) -> None:
        super().__init__(meter.name, meter.version, meter.schema_url)
        self._meter = meter
        self._storage = storage
        self._others = others
        self._known: set[Any] = set()
        self._lock = Lock()

    def create_counter(self, name: str, unit: str = "", description: str = "") -> Any:
        """Return a counter."""
        return self._recording(self._meter.create_counter(name, unit, description), "add")

    def create_up_down_counter(self, name: str, unit: str = "", description: str = "") -> Any:
        """Return an up-down counter."""
        return self._recording(self._meter.create_up_down_counter(name, unit, description), "add")

    def create_histogram(self, name: str, unit: str = "", description: str = "", **advisory: Any) -> Any:
        """Return a histogram."""
        return self._recording(self._meter.create_histogram(name, unit, description, **advisory), "record")

    def create_gauge(self, name: str, unit: str = "", description: str = "") -> Any:
        """Return a gauge."""
        return self._recording(self._meter.create_gauge(name, unit, description), "set")

    def create_observable_counter(self, name: str, callbacks: Any = None, unit: str = "", description: str = "") -> Any:
        """Return a counter whose totals callbacks tell."""
        return self._observed(self._meter.create_observable_counter(name, callbacks, unit, description))

    def create_observable_up_down_counter(
        self, name: str, callbacks: Any = None, unit: str = "", description: str = ""
    ) -> Any:
        """Return an up-down counter whose totals callbacks tell."""
        return self._observed(self._meter.create_observable_up_down_counter(name, callbacks, unit, description))

    def create_observable_gauge(self, name: str, callbacks: Any = None, unit: str = "", description: str = "") -> Any:
        """Return a gauge whose values callbacks tell."""
        return self._observed(self._meter.create_observable_gauge(name, callbacks, unit, description))

    def _recording(self, instrument: Any, method: str) -> Any:
        with self._lock:
            if self._is_new(instrument):
                recorder = Recorder(instrument, self._storage, self._others, getattr(instrument, method))
                setattr(instrument, method, recorder.record)
        return instrument

    def _observed(self, instrument: Any) -> Any:
        with self._lock:
            if self._is_new(instrument):
                self._storage.observe_with(instrument)
        return instrument

    def _is_new(self, instrument: Any) -> bool:
        """Return whether upstream has made `instrument` just now; for an equal one it gives the same again."""
        is_new = instrument not in self._known
        self._known.add(instrument)
        return is_new

    def renew(self) -> None:
        """Give up a lock that a forked child may have inherited taken."""
        self._lock = Lock()


class LeanMeterProvider(MeterProvider):
    """A meter provider of upstream that fills `storage`; `flush` delivers what is in it, within seconds."""

    def __init__(
        self,
        storage: MetricStorage,
        resource: Resource,
        *,
        readers: Sequence[MetricReader] = (),
        flush: Callable[[float], bool] = lambda seconds: True,
    ) -> None:
        self._storage = storage
        self._others = OtherReaders(readers)
        self._lean_meters: dict[Any, LeanMeter] = {}
        self._flush = flush
        self.joined: Callable[[], object] = lambda: None
        """Is called before the first other reader is added to none."""
        super().__init__(
            metric_readers=list(readers),
            resource=resource,
            exemplar_filter=_EXEMPLAR_FILTERS[storage.exemplars](),
            shutdown_on_exit=False,
            views=storage.views,
        )
        on_fork_in_child(self._renew_after_fork)

    def get_meter(
        self, name: str, version: str | None = None, schema_url: str | None = None, attributes: Any = None
    ) -> Meter:
        """Return the meter of a scope; a no-op one where upstream gives one."""
        meter = super().get_meter(name, version, schema_url, attributes)
        if isinstance(meter, NoOpMeter):
            return meter
        found = self._lean_meters.get(meter)
        return found or self._lean_meters.setdefault(meter, LeanMeter(meter, self._storage, self._others))

    @property
    def has_other_readers(self) -> bool:
        """Whether anybody but our own reader reads."""
        return bool(self._others.readers)

    def add_metric_reader(self, metric_reader: MetricReader) -> None:
        """Serve another reader from now on."""
        if not self.has_other_readers:
            self.joined()
        super().add_metric_reader(metric_reader)
        self._others.readers.add(metric_reader)

    def remove_metric_reader(self, metric_reader: MetricReader) -> None:
        """Serve that reader no longer."""
        self._others.readers.discard(metric_reader)
        super().remove_metric_reader(metric_reader)

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Deliver what was measured, and let other readers do so; return whether everything was taken."""
        deadline = time.monotonic() + timeout_millis / 1000
        flushed = self._flush(timeout_millis / 1000)
        return super().force_flush(max(deadline - time.monotonic(), 0) * 1000) and flushed

    def _renew_after_fork(self) -> None:
        consumer = self._measurement_consumer
        if hasattr(consumer, "_lock"):
            consumer._lock = Lock()  # may have been held by a thread that is not here
        for meter in self._lean_meters.values():
            meter.renew()
