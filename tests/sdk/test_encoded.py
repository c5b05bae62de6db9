"""The same calls on both tracers, all the way to protobuf messages: upstream's encoder and ours agree."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider

from otel_forge.otlp import encode_spans as ours
from otel_forge.otlp.envelope import EncodedResource
from otel_forge.sdk.limits import RecordLimits
from otel_forge.settings import Settings
from tests.sdk.pairs import FRAME_OF_UPSTREAM, RESOURCE, CountingIds, Watching, lean_provider
from tests.sdk.test_api_contract import CASES, attributes_of_all_types, over_all_limits

SMALL = {
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "3",
    "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT": "2",
    "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT": "1",
    "OTEL_SPAN_EVENT_COUNT_LIMIT": "2",
    "OTEL_SPAN_LINK_COUNT_LIMIT": "3",
    "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT": "4",
}


def timeless(request: ExportTraceServiceRequest) -> ExportTraceServiceRequest:
    """Return `request` without what the clock said and without frames that only upstream has."""
    for of_resource in request.resource_spans:
        for of_scope in of_resource.scope_spans:
            for span in of_scope.spans:
                span.start_time_unix_nano = span.end_time_unix_nano = 0
                for event in span.events:
                    event.time_unix_nano = 0
                    for attribute in event.attributes:
                        if attribute.key == "exception.stacktrace":
                            text = attribute.value.string_value
                            attribute.value.string_value = FRAME_OF_UPSTREAM.sub("", text)
    return request


def requests_of_both(calls: Callable[[Any], object], environ: dict[str, str]) -> tuple[Any, Any]:
    settings = Settings.from_env(environ)
    limits = RecordLimits.of_spans(settings.limits)
    watching, ended = Watching(), list[Any]()
    upstream = TracerProvider(
        resource=RESOURCE, id_generator=CountingIds(), span_limits=limits.as_upstream(), shutdown_on_exit=False
    )
    upstream.add_span_processor(watching)
    lean = lean_provider(ended.append, id_generator=CountingIds(), limits=limits)
    for provider in (upstream, lean):
        calls(provider.get_tracer("pairs", "1.0", "https://schema", {"scope": "attribute"}))
    for span in ended:
        span.settle()
    request = ExportTraceServiceRequest()
    request.ParseFromString(ours.encode_spans(ended, EncodedResource(RESOURCE), settings.limits))
    return timeless(encode_spans(watching.ended)), timeless(request)


ALL_CASES: list[tuple[Callable[[Any], None], dict[str, str]]] = [(calls, {}) for calls in [*CASES, over_all_limits]]
# On purpose, the text of an object counts as text here, and is cut to the limit; so not with `attributes_of_all_types`.
ALL_CASES += [(calls, SMALL) for calls in [*CASES, over_all_limits] if calls is not attributes_of_all_types]


@pytest.mark.parametrize(
    ("calls", "environ"), ALL_CASES, ids=lambda value: value.__name__ if callable(value) else f"{len(value)} limits"
)
def test_requests_equal_those_of_upstream(
    calls: Callable[[Any], object], environ: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    """Every field of every span, in order."""
    caplog.set_level("CRITICAL")
    upstream, lean = requests_of_both(calls, environ)
    assert lean == upstream
