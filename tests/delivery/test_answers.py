"""Retry-After in both forms, and the partial success read by hand."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from otel_forge.delivery.answers import partial_success, retry_after

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120.0),
        ("0", 0.0),
        ("Mon, 23 Nov 2026 12:00:30 GMT", 30.0),
        ("Mon, 23 Nov 2026 11:00:00 GMT", 0.0),
        ("", None),
        ("soon", None),
        ("-5", None),
    ],
)
def test_retry_after(text: str, seconds: float | None) -> None:
    """Seconds or a date; anything else is nothing."""
    assert retry_after(text, NOW) == seconds


@given(st.integers(min_value=0, max_value=(1 << 63) - 1), st.text())
def test_partial_success_is_read_as_protobuf_reads_it(rejected: int, message: str) -> None:
    """Count and message of any response that upstream's classes write."""
    response = ExportTraceServiceResponse()
    response.partial_success.rejected_spans = rejected
    try:
        response.partial_success.error_message = message
    except UnicodeEncodeError:
        message = ""
    assert partial_success(response.SerializeToString()) == (rejected, message)


@given(st.binary())
def test_no_bytes_make_reading_fail(body: bytes) -> None:
    """A body that is no such message says nothing."""
    rejected, message = partial_success(body)
    assert 0 <= rejected < 1 << 63
    assert isinstance(message, str)
