"""Requests out of fragments: batches by bytes, scopes kept, resources as they are."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from otel_forge.otlp.encode_spans import encode_span, encode_spans
from otel_forge.otlp.envelope import (
    KEPT_ENCLOSURES,
    EncodedResource,
    assemble_many,
    assemble_traces,
    by_scope,
    encoded_resource,
    encoded_scope,
)
from otel_forge.otlp.report import EncodingReport
from tests.otlp.generated import NO_LIMITS, Span

RESOURCE = EncodedResource(Resource({"service.name": "shop"}, "https://schema"))
A, B = InstrumentationScope("a", "1", "https://a", {"x": 1}), InstrumentationScope("b")


def test_fragments_make_the_same_request_as_their_spans() -> None:
    """So they can be kept, counted and sent later."""
    spans = [Span(name=f"{number}", scope=scope) for number, scope in enumerate((A, B, A))]
    fragments = [encode_span(span, NO_LIMITS) for span in spans]
    request = assemble_traces(RESOURCE, [(A, [fragments[0], fragments[2]]), (B, [fragments[1]])])
    assert request == encode_spans(spans, RESOURCE, NO_LIMITS)


def test_the_size_of_a_request_is_known_before_it_is_made() -> None:
    """Fragments, resource and scopes: their sizes add up to no less than the request, and hardly more."""
    fragments = [encode_span(Span(name="x" * number), NO_LIMITS) for number in range(0, 3000, 10)]
    expected = RESOURCE.size + encoded_scope(A).size + sum(map(len, fragments))
    request = assemble_traces(RESOURCE, [(A, fragments)])
    assert expected - 24 <= len(request) <= expected


def test_several_resources_share_a_request() -> None:
    """As metrics of upstream may have."""
    fragment = encode_span(Span(), NO_LIMITS)
    other = EncodedResource(Resource({"service.name": "other"}))
    request = ExportTraceServiceRequest.FromString(
        assemble_many([(RESOURCE, [(A, [fragment])]), (other, [(B, [fragment]), (A, [])])])
    )
    assert [len(of_resource.scope_spans) for of_resource in request.resource_spans] == [1, 1]
    assert [of_resource.schema_url for of_resource in request.resource_spans] == ["https://schema", ""]


def test_kept_scopes_and_resources_are_bounded() -> None:
    """A program that makes a scope for each request does not fill the memory."""
    for number in range(3 * KEPT_ENCLOSURES):
        scope = InstrumentationScope(f"scope {number}")
        assert f"scope {number}".encode() in encoded_scope(scope).head
        encoded_resource(Resource({"n": number}))
        assert max(len(encoded_scope), len(encoded_resource)) <= KEPT_ENCLOSURES


def test_a_resource_that_cannot_be_encoded_as_it_is_is_mended_and_counted() -> None:
    """An undecodable byte in OTEL_RESOURCE_ATTRIBUTES."""
    report = EncodingReport()
    resource = EncodedResource(Resource({"service.name": "caf\udce9", "n": 1 << 64}), report)
    assert b"caf\\udce9" in resource.head
    assert b"18446744073709551616" in resource.head
    assert (report.altered, report.reasons) == (1, {"number": 1, "text": 1})


def test_a_scope_that_is_none_costs_no_record() -> None:
    """Its spans arrive without a scope's name."""
    request = ExportTraceServiceRequest.FromString(encode_spans([Span(scope=7), Span(scope=A)], RESOURCE, NO_LIMITS))
    assert [len(of_scope.spans) for of_scope in request.resource_spans[0].scope_spans] == [1, 1]


def test_the_encoders_need_no_protobuf_runtime() -> None:
    """Neither its import time nor its memory."""
    program = (
        "import sys, otel_forge.otlp.encode_spans, otel_forge.otlp.encode_logs, otel_forge.otlp.encode_metrics;"
        "print([name for name in sys.modules if name.startswith(('google', 'opentelemetry.proto'))])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_more_scopes_than_are_kept_leave_the_groups_whole() -> None:
    """Forgetting encodings in the middle of a batch neither splits a scope's group nor merges two scopes."""
    scopes = [InstrumentationScope(f"scope {number}") for number in range(3 * KEPT_ENCLOSURES)]
    records = [SimpleNamespace(scope=scope) for scope in [*scopes, *scopes]]
    groups = by_scope(records, lambda record: record.scope.name.encode())
    assert [(scope.name.encode(), fragments) for scope, fragments in groups] == [
        (scope.name.encode(), [scope.name.encode()] * 2) for scope in scopes
    ]
