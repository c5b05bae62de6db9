"""What the tables of attributes keep: right, bounded, and forgotten when it is stale."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Message

from otel_forge.otlp.attributes import (
    KEPT_BYTES,
    KEPT_LENGTH,
    KEPT_VALUES,
    AttributeTable,
    attribute_table,
    fixed_attributes,
)
from otel_forge.otlp.careful import Altered


@pytest.fixture
def table() -> AttributeTable:
    """A table of its own, which no other test has filled."""
    return AttributeTable(b"\x4a")


def size_of(kept: Any) -> int:
    """Return the bytes of nested dictionaries and what they hold."""
    if isinstance(kept, dict):
        return sys.getsizeof(kept) + sum(size_of(key) + size_of(value) for key, value in kept.items())
    return sys.getsizeof(kept)


def decoded(fields: list[bytes]) -> list[tuple[str, Any]]:
    """Return the attributes of a span made of `fields`."""
    message = Message.FromString(b"".join(fields))
    return [(pair.key, getattr(pair.value, str(pair.value.WhichOneof("value")))) for pair in message.attributes]


def test_what_is_kept_is_what_was_made(table: AttributeTable) -> None:
    """The second time, the same objects come back."""
    attributes = {"a": "x", "b": 1, "c": True}
    first, second = table.fields(attributes), table.fields(dict(attributes))
    assert [id(field) for field in first] == [id(field) for field in second]
    assert decoded(second) == list(attributes.items())


def test_a_key_with_ever_new_values_keeps_few(table: AttributeTable) -> None:
    """A path with an id in it does not fill the memory."""
    for number in range(10_000):
        attributes = {"path": f"/{number}", "port": number}
        assert decoded(table.fields(attributes)) == list(attributes.items())
        assert len(table.texts["path"]) <= KEPT_VALUES
        assert len(table.integers["port"]) <= KEPT_VALUES


def test_ever_new_keys_and_values_stay_within_the_bound(table: AttributeTable) -> None:
    """When a table is full it forgets and starts afresh."""
    highest = 0
    for number in range(20_000):
        table.fields({f"key {number}": f"value {number % 977}", f"n{number}": number, f"f{number}": 0.5})
        if number % 1000 == 0:
            highest = max(highest, size_of(table.texts) + size_of(table.integers))
        assert table.kept <= KEPT_BYTES
    assert highest < 4 * KEPT_BYTES


def test_a_long_text_is_not_kept(table: AttributeTable) -> None:
    """Statements and stack traces pass through."""
    table.fields({"long": "x" * KEPT_LENGTH})
    assert len(table.texts["long"]) == 0


def test_values_that_come_later_are_kept_in_the_place_of_stale_ones(table: AttributeTable) -> None:
    """A key whose values change for good is fast again after a while."""
    for number in range(KEPT_VALUES):
        table.fields({"key": f"old {number}"})
    for _ in range(2000):
        table.fields({"key": "new"})
    assert "new" in table.texts["key"]


@pytest.mark.parametrize("limit", [0, 1, 3])
def test_texts_are_cut_to_the_limit_in_characters(limit: int) -> None:
    """Not in bytes, and also from what is kept."""
    table = AttributeTable(b"\x4a", limit)
    for _ in range(2):
        assert decoded(table.fields({"a": "äöü€𝄞", "b": "x"})) == [("a", "äöü€𝄞"[:limit]), ("b", "x"[:limit])]


@pytest.mark.parametrize(
    "attributes", [{"": 1}, {"k" * (KEPT_LENGTH + 1): 1}, {1: "a"}, {"a": 1 << 63}, {"a": "\ud800"}, {"a": ["\ud800"]}]
)
def test_what_needs_care_is_refused(table: AttributeTable, attributes: Any) -> None:
    """The table never guesses; a text that is no Unicode says so itself."""
    with pytest.raises((Altered, UnicodeEncodeError)):
        table.fields(attributes)


def test_a_table_is_shared_by_all_with_the_same_tag_and_limit() -> None:
    """The encoders of a process fill one table for each kind of attribute."""
    assert attribute_table(b"\x4a", 5) is attribute_table(b"\x4a", 5)
    assert attribute_table(b"\x4a", 5) is not attribute_table(b"\x4a", 6)
    assert attribute_table(b"\x4a") is not attribute_table(b"\x4a", raw=True)


def test_fixed_attributes_are_what_a_table_makes(table: AttributeTable) -> None:
    """And they tell what the limits need to know."""
    mapping = {"a": "text", "b": 1, "c": ["long text", "x"]}
    fixed = fixed_attributes(mapping)
    assert fixed.encoded == b"".join(table.fields(mapping))
    assert (fixed.mapping, fixed.count, fixed.longest) == (mapping, 3, 9)
    with pytest.raises(TypeError):
        fixed.mapping["d"] = 1  # type: ignore[index]
    mapping["d"] = 1
    assert "d" not in fixed.mapping


def test_a_text_within_the_limit_does_not_let_a_longer_one_of_as_many_bytes_pass() -> None:
    """Three letters of two bytes each are within a limit of three; six of one byte are not."""
    table = AttributeTable(b"\x4a", 3)
    assert decoded(table.fields({"a": "äöü"})) == [("a", "äöü")]
    assert decoded(table.fields({"a": "abcdef"})) == [("a", "abc")]
