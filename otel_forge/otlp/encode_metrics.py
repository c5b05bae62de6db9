"""Upstream's metric points to wire bytes.

A fragment is a Metric with as many of its points as fit `MAX_RECORD_BYTES`, so a metric of a great many points
becomes several of the same name, which is what OTLP receivers take apart anyway. One bad point costs itself:
an attribute that would mark it would make it another time series, so it is only counted.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

from opentelemetry.sdk.metrics.export import (
    ExponentialHistogram,
    Gauge,
    Histogram,
    Metric,
    MetricsData,
    Sum,
)

from otel_forge.otlp.attributes import KEPT_LENGTH, attribute_table
from otel_forge.otlp.careful import MAX_RECORD_BYTES, Altered, Careful
from otel_forge.otlp.envelope import EncodedResource, assemble_many, encoded_resource
from otel_forge.otlp.report import EncodingReport, Reason
from otel_forge.otlp.wire import MASK64, Heads, delimited, pack_double, pack_fixed64, varint, zigzag
from otel_forge.redaction.current import on_change

_NUMBER_ATTRIBUTES, _HISTOGRAM_ATTRIBUTES, _EXPONENTIAL_ATTRIBUTES = b"\x3a", b"\x4a", b"\x0a"
_EXEMPLAR_ATTRIBUTES = b"\x3a"
_DESCRIPTION = (b"\x0a", b"\x12", b"\x1a")  # name, description, unit
_KEPT_BOUNDS = 64
_KEPT_SETS = 2048

_pack_double_point = struct.Struct("<BQBQBd").pack
_pack_integer_point = struct.Struct("<BQBQBq").pack
_point_heads = Heads(b"\x0a")

Point = Any
_Fast = Callable[[Point], bytes]
_General = Callable[[Point, "_Scribe"], bytes]


class _Scribe(Protocol):
    """How the parts of a point are written: trusting that they are right, or carefully."""

    def attributes(self, tag: bytes, attributes: Any) -> tuple[bytes, int]: ...
    def time(self, time: Any) -> int: ...
    def unsigned(self, number: Any, bits: int) -> int: ...
    def double(self, number: Any) -> bytes: ...
    def altered(self, reason: Reason) -> None: ...


class _Trusting:
    """Writes what is right, and raises for everything else."""

    def attributes(self, tag: bytes, attributes: Any) -> tuple[bytes, int]:
        return (b"".join(attribute_table(tag, raw=True).fields(attributes)) if attributes else b""), 0

    def time(self, time: Any) -> int:
        return time or 0

    def unsigned(self, number: Any, bits: int) -> int:
        if not 0 <= (number or 0) < 1 << bits:
            raise Altered
        return number or 0

    def double(self, number: Any) -> bytes:
        return pack_double(number)

    def altered(self, _reason: Reason) -> None:
        raise Altered


_trusting = _Trusting()


class MetricEncoder:
    """Encodes metrics; used by one thread at a time. What had to be changed is counted in `report`, by point."""

    def __init__(self, report: EncodingReport | None = None) -> None:
        self.report = EncodingReport() if report is None else report
        self.lost = 0
        """Points that this encoder could not write; all encoders together count theirs in `report`."""

    def _lose(self, points: int) -> None:
        self.lost += points
        self.report.note_lost(points)

    def encode(self, metric: Metric) -> list[bytes]:
        """Return `metric` as fields of its scope, nearly always one. Never raises."""
        try:
            return self._encode(metric)
        except Exception:  # noqa: BLE001 - not even a metric
            self._lose(_points_in(metric))
            return []

    def _encode(self, metric: Metric) -> list[bytes]:
        description = self._description(metric)
        points = metric.data.data_points
        form = _form(metric.data)
        if form is None or not points:
            if form is None:
                self._lose(len(points))
            return [delimited(b"\x12", description)]
        tag, setting, fast, general = form
        return [
            delimited(b"\x12", description + delimited(tag, b"".join(part) + setting))
            for part in _in_parts(self._points(points, fast, general))
        ]

    def _description(self, metric: Metric) -> bytes:
        careful = Careful(large=True)
        texts = (careful.text(metric.name), careful.text(metric.description), careful.text(metric.unit))
        careful.report_to(self.report)
        return b"".join([delimited(tag, text) for tag, text in zip(_DESCRIPTION, texts, strict=True) if text])

    def _points(self, points: Sequence[Point], fast: _Fast, general: _General) -> list[bytes]:
        fields = []
        for point in points:
            try:
                content = fast(point)
                size = len(content)
                if size > MAX_RECORD_BYTES:
                    raise Altered
                fields.append(_point_heads[size] + content)
            except Exception:  # noqa: BLE001 - anything unusual; the careful scribe knows what to do
                fields.append(self._careful_point(point, general))
        return fields

    def _careful_point(self, point: Point, general: _General) -> bytes:
        """Return a point of which anything may be wrong as a field; no bytes if its numbers are none."""
        try:
            careful = _CarefulPoint(raw=True)
            content = general(point, careful)
            if "size" in careful.reasons or len(content) > MAX_RECORD_BYTES:
                careful = _CarefulPoint(raw=True, large=True)
                content = general(point, careful)
            careful.report_to(self.report)
        except Exception:  # noqa: BLE001 - its numbers are no numbers
            self._lose(1)
            return b""
        return _point_heads[len(content)] + content


class PreparedMetric:
    """A cumulative sum, or a gauge, of which only numbers change: what describes it is encoded once.

    Attributes are encoded when they are first seen, as long as they come in the same dict.
    """

    __slots__ = ("_description", "_end", "_is_sum", "_tag")

    def __init__(self, name: str, description: str, unit: str, *, is_sum: bool, is_monotonic: bool = False) -> None:
        texts = zip(_DESCRIPTION, (name, description, unit), strict=True)
        self._description = b"".join([delimited(tag, text.encode()) for tag, text in texts if text])
        self._tag = b"\x3a" if is_sum else b"\x2a"
        self._end = (b"\x10\x02" + (b"\x18\x01" if is_monotonic else b"")) if is_sum else b""
        self._is_sum = is_sum

    def encode(self, values: Iterable[tuple[int | float, dict[str, Any]]], since: int, now: int) -> tuple[bytes, int]:
        """Return the metric with a point for each of `values` as a field of its scope, and how many points it has."""
        fields = []
        start = since if self._is_sum else 0
        for value, attributes in values:
            if type(value) is int:
                content = _pack_integer_point(0x11, start, 0x19, now, 0x31, value)
            else:
                content = _pack_double_point(0x11, start, 0x19, now, 0x21, value)
            if attributes:
                kept = _number_sets.get(id(attributes))
                content += kept[1] if kept else _number_sets.keep(attributes)
            fields.append(_point_heads[len(content)] + content)
        data = b"".join([*fields, self._end])
        return delimited(b"\x12", self._description + delimited(self._tag, data)), len(fields)


class _CarefulPoint(Careful):
    """The careful scribe of a data point."""

    def altered(self, reason: Reason) -> None:
        self.reasons.add(reason)


def encode_metrics(
    data: MetricsData, resource: EncodedResource | None = None, report: EncodingReport | None = None
) -> bytes:
    """Return a serialized ExportMetricsServiceRequest that holds `data`, under `resource` instead of its own if given.

    Resources and scopes without metrics are left out.
    """
    encode = MetricEncoder(report).encode
    return assemble_many(
        (
            resource or encoded_resource(of_resource.resource),
            [
                (of_scope.scope, [fragment for metric in of_scope.metrics for fragment in encode(metric)])
                for of_scope in of_resource.scope_metrics
            ],
        )
        for of_resource in data.resource_metrics
    )


def _form(data: Any) -> tuple[bytes, bytes, _Fast, _General] | None:
    """Return the tag of a metric's data, what stands in it beside the points, and how points are encoded."""
    if isinstance(data, Histogram):
        return b"\x4a", _temporality(data), _fast_histogram_point, _histogram_point
    if isinstance(data, Sum):
        setting = _temporality(data) + (b"\x18\x01" if data.is_monotonic else b"")
        return b"\x3a", setting, _fast_sum_point, _sum_point
    if isinstance(data, Gauge):
        return b"\x2a", b"", _fast_gauge_point, _gauge_point
    if isinstance(data, ExponentialHistogram):
        return b"\x52", _temporality(data), _fast_exponential_point, _exponential_point
    return None


def _points_in(metric: Any) -> int:
    """Return how many points a broken metric has, at least one."""
    try:
        return max(len(metric.data.data_points), 1)
    except Exception:  # noqa: BLE001 - broken indeed
        return 1


def _temporality(data: Any) -> bytes:
    return b"\x10" + varint(int(data.aggregation_temporality))


def _in_parts(points: list[bytes]) -> Iterator[list[bytes]]:
    """Yield the points in lists of at most `MAX_RECORD_BYTES`."""
    if sum(map(len, points)) <= MAX_RECORD_BYTES:
        yield points
        return
    part: list[bytes] = []
    size = 0
    for point in points:
        if part and size + len(point) > MAX_RECORD_BYTES:
            yield part
            part, size = [], 0
        part.append(point)
        size += len(point)
    yield part


# -- the straight way: whole structures at once, for what comes in masses ------------------------------------------


def _fast_sum_point(point: Point) -> bytes:
    return _fast_number_point(point, point.start_time_unix_nano or 0)


def _fast_gauge_point(point: Point) -> bytes:
    return _fast_number_point(point, 0)


def _fast_number_point(point: Point, start: int) -> bytes:
    value = point.value
    time = point.time_unix_nano or 0
    if type(value) is float:
        numbers = _pack_double_point(0x11, start, 0x19, time, 0x21, value)
    elif type(value) is int:
        numbers = _pack_integer_point(0x11, start, 0x19, time, 0x31, value)
    else:
        raise Altered
    if point.exemplars:
        numbers += _exemplars(b"\x2a", point, _trusting)
    attributes = point.attributes
    if not attributes:
        return numbers
    kept = _number_sets.get(id(attributes))
    return numbers + (kept[1] if kept else _number_sets.keep(attributes))


def _fast_histogram_point(point: Point) -> bytes:
    bounds = point.explicit_bounds
    _, pack, head, field = _kept_bounds.get(id(bounds)) or _keep_bounds(bounds)
    try:
        numbers = pack(
            0x11,
            point.start_time_unix_nano,
            0x19,
            point.time_unix_nano,
            0x21,
            point.count,
            0x29,
            point.sum,
            0x59,
            point.min,
            0x61,
            point.max,
            head,
            *point.bucket_counts,
        )
    except struct.error:  # something is None, or the counts are not one more than the bounds
        return _histogram_point(point, _trusting)
    if point.exemplars:
        field += _exemplars(b"\x42", point, _trusting)
    attributes = point.attributes
    if not attributes:
        return numbers + field
    kept = _histogram_sets.get(id(attributes))
    return numbers + field + (kept[1] if kept else _histogram_sets.keep(attributes))


def _fast_exponential_point(point: Point) -> bytes:
    return _exponential_point(point, _trusting)


class _Sets(dict[int, tuple[Any, bytes]]):
    """Whole sets of attributes as fields, by the identity of their dict.

    Upstream gives a time series a dict of its own, which it never changes, at its first measurement (so do bound
    cells); with cumulative temporality the same one is in every collection.
    """

    def __init__(self, tag: bytes) -> None:
        super().__init__()
        self._fields = attribute_table(tag, raw=True).fields
        self._skip = 0

    def keep(self, attributes: Any) -> bytes:
        """Return the fields of `attributes`, and keep them if there is room; afresh after many that had none."""
        fields = b"".join(self._fields(attributes))
        if self._skip:
            self._skip -= 1
        elif type(attributes) is dict and len(fields) <= KEPT_LENGTH:
            if len(self) >= _KEPT_SETS:
                self.clear()
            self[id(attributes)] = (attributes, fields)  # holding the dict keeps its identity from being used again
            if len(self) == _KEPT_SETS:
                self._skip = 8 * _KEPT_SETS
        return fields


_number_sets = _Sets(_NUMBER_ATTRIBUTES)
_histogram_sets = _Sets(_HISTOGRAM_ATTRIBUTES)
on_change(_number_sets.clear)
on_change(_histogram_sets.clear)

_Layout = tuple[Sequence[float], Callable[..., bytes], bytes, bytes]


def _keep_bounds(bounds: Sequence[float]) -> _Layout:
    """Return the bounds, how a point with them is packed, what stands before its counts, and their field.

    A tuple, which the points of a metric share, is found again by its identity; not by its value, because tuples of
    ``1`` and ``1.0``, or of ``0.0`` and ``-0.0``, are equal.
    """
    counts = len(bounds) + 1
    head = b"\x32" + varint(8 * counts)
    content = struct.pack(f"<{len(bounds)}d", *bounds)
    pack = struct.Struct(f"<BQBQBQBdBdBd{len(head)}s{counts}Q").pack
    layout = bounds, pack, head, delimited(b"\x3a", content) if content else b""
    if type(bounds) is tuple:
        if len(_kept_bounds) >= _KEPT_BOUNDS:
            _kept_bounds.clear()
        _kept_bounds[id(bounds)] = layout  # holding the tuple keeps its identity from being used again
    return layout


_kept_bounds: dict[int, _Layout] = {}


# -- the general way: field by field, with a scribe that trusts or is careful --------------------------------------


def _sum_point(point: Point, scribe: _Scribe) -> bytes:
    return b"\x11" + pack_fixed64(scribe.time(point.start_time_unix_nano)) + _gauge_point(point, scribe)


def _gauge_point(point: Point, scribe: _Scribe) -> bytes:
    return b"".join(
        (
            scribe.attributes(_NUMBER_ATTRIBUTES, point.attributes)[0],
            b"\x19" + pack_fixed64(scribe.time(point.time_unix_nano)),
            _integer_or_double(b"\x31", b"\x21", point.value, scribe),
            _exemplars(b"\x2a", point, scribe),
        )
    )


def _histogram_point(point: Point, scribe: _Scribe) -> bytes:
    counts = [scribe.unsigned(count, 64) for count in point.bucket_counts]
    bounds = b"".join([scribe.double(bound) for bound in point.explicit_bounds])
    return b"".join(
        (
            scribe.attributes(_HISTOGRAM_ATTRIBUTES, point.attributes)[0],
            _times_and_count(point, scribe),
            _optional_double(b"\x29", point.sum, scribe),
            delimited(b"\x32", struct.pack(f"<{len(counts)}Q", *counts)) if counts else b"",
            delimited(b"\x3a", bounds) if bounds else b"",
            _exemplars(b"\x42", point, scribe),
            _optional_double(b"\x59", point.min, scribe),
            _optional_double(b"\x61", point.max, scribe),
        )
    )


def _exponential_point(point: Point, scribe: _Scribe) -> bytes:
    flags = scribe.unsigned(point.flags, 32)
    return b"".join(
        (
            scribe.attributes(_EXPONENTIAL_ATTRIBUTES, point.attributes)[0],
            _times_and_count(point, scribe),
            _optional_double(b"\x29", point.sum, scribe),
            b"\x30" + zigzag(_int32(point.scale, scribe)),
            b"\x39" + pack_fixed64(scribe.unsigned(point.zero_count, 64)),
            _buckets(b"\x42", point.positive, scribe),
            _buckets(b"\x4a", point.negative, scribe),
            b"\x50" + varint(flags) if flags else b"",
            _exemplars(b"\x5a", point, scribe),
            _optional_double(b"\x61", point.min, scribe),
            _optional_double(b"\x69", point.max, scribe),
        )
    )


def _times_and_count(point: Point, scribe: _Scribe) -> bytes:
    return b"".join(
        (
            b"\x11" + pack_fixed64(scribe.time(point.start_time_unix_nano)),
            b"\x19" + pack_fixed64(scribe.time(point.time_unix_nano)),
            b"\x21" + pack_fixed64(scribe.unsigned(point.count, 64)),
        )
    )


def _buckets(tag: bytes, buckets: Any, scribe: _Scribe) -> bytes:
    """Return the buckets of one sign; upstream writes none where there are no counts."""
    if not buckets.bucket_counts:
        return b""
    counts = b"".join([varint(scribe.unsigned(count, 64)) for count in buckets.bucket_counts])
    return delimited(tag, b"\x08" + zigzag(_int32(buckets.offset, scribe)) + delimited(b"\x12", counts))


def _int32(number: Any, scribe: _Scribe) -> int:
    if number is None:
        return 0
    if not -(1 << 31) <= number < 1 << 31:
        scribe.altered("number")
        return 0
    return int(number)


def _optional_double(tag: bytes, number: Any, scribe: _Scribe) -> bytes:
    return b"" if number is None else tag + scribe.double(number)


def _integer_or_double(integer_tag: bytes, double_tag: bytes, number: Any, scribe: _Scribe) -> bytes:
    """Return a number; an integer beyond 64 bits as a double, which upstream fails on for ever after."""
    if not isinstance(number, int):
        return double_tag + scribe.double(number)
    if -(1 << 63) <= number < 1 << 63:
        return integer_tag + pack_fixed64(number & MASK64)
    scribe.altered("number")
    return double_tag + scribe.double(number)


def _exemplars(tag: bytes, point: Point, scribe: _Scribe) -> bytes:
    fields = []
    for exemplar in point.exemplars or ():
        try:
            fields.append(delimited(tag, _exemplar(exemplar, scribe)))
        except Exception:  # noqa: BLE001 - its number is no number; the point does without it
            scribe.altered("record")
    return b"".join(fields)


def _exemplar(exemplar: Any, scribe: _Scribe) -> bytes:
    ids = b""
    if exemplar.span_id is not None and exemplar.trace_id is not None:
        trace, span = scribe.unsigned(exemplar.trace_id, 128), scribe.unsigned(exemplar.span_id, 64)
        ids = b"\x22\x08" + span.to_bytes(8, "big") + b"\x2a\x10" + trace.to_bytes(16, "big")
    return b"".join(
        (
            ids,
            b"\x11" + pack_fixed64(scribe.time(exemplar.time_unix_nano)),
            _integer_or_double(b"\x31", b"\x19", exemplar.value, scribe),
            scribe.attributes(_EXEMPLAR_ATTRIBUTES, exemplar.filtered_attributes)[0],
        )
    )
