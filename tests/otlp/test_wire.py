"""The wire format, against the protobuf runtime's own reading of it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import ExponentialHistogramDataPoint

from otel_forge.otlp.wire import Heads, delimited, signed_varint, varint, zigzag


@given(st.integers(-(1 << 63), (1 << 63) - 1))
def test_an_integer_is_read_back(number: int) -> None:
    """Negative ones, too, as their two's complement."""
    assert AnyValue.FromString(b"\x18" + signed_varint(number)).int_value == number


@given(st.integers(-(1 << 31), (1 << 31) - 1))
def test_a_zigzag_integer_is_read_back(number: int) -> None:
    """Small negative numbers stay short."""
    assert ExponentialHistogramDataPoint.FromString(b"\x30" + zigzag(number)).scale == number
    assert len(zigzag(-1)) == 1


def test_every_length_of_varint_is_the_shortest() -> None:
    """Seven bits in each byte."""
    for bits in range(64):
        for number in ((1 << bits) - 1, 1 << bits):
            assert len(varint(number)) == max(1, -(-number.bit_length() // 7))


def test_heads_stand_before_content_of_their_length() -> None:
    """Kept for short content only."""
    heads = Heads(b"\x0a")
    nested = Heads(b"\x2a", b"\x0a")
    for length in (0, 1, 127, 128, 4095, 4096, 100_000):
        content = b"x" * length
        assert heads[length] + content == delimited(b"\x0a", content)
        assert nested[length] + content == delimited(b"\x2a", delimited(b"\x0a", content))
    assert max(heads) < Heads.KEPT_BELOW
