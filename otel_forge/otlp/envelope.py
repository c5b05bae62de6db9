"""Requests out of fragments: what stands around records, encoded once.

The three requests of OTLP have one shape and the same field numbers::

    Export…ServiceRequest {
      1: Resource… {
        1: resource
        2: Scope… { 1: scope  2: records  3: schema_url }
        3: schema_url
      }
    }

A fragment is one record as a field of its scope: bytes that can be kept, counted, stored and sent later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from otel_forge.otlp.careful import Careful
from otel_forge.otlp.report import EncodingReport
from otel_forge.otlp.wire import delimited, varint
from otel_forge.redaction.current import on_change

KEPT_ENCLOSURES = 256
"""Scopes whose encoding is kept; a program has as many as it has instrumented libraries."""

_FIRST, _SECOND, _THIRD = b"\x0a", b"\x12", b"\x1a"


class Enclosure:
    """What stands before and after the records of one resource or one scope."""

    __slots__ = ("head", "size", "tail")

    def __init__(self, description: bytes, schema_url: bytes) -> None:
        self.head = delimited(_FIRST, description)
        self.tail = delimited(_THIRD, schema_url) if schema_url else b""
        self.size = len(self.head) + len(self.tail) + 12
        """The most that this adds to a request, in bytes, with the tags and lengths around it."""


class EncodedResource(Enclosure):
    """An upstream ``Resource`` as it stands in every request; make it anew when the resource changes (fork)."""

    __slots__ = ()

    def __init__(self, resource: Any, report: EncodingReport | None = None) -> None:
        careful = Careful(raw=True)
        attributes, _ = careful.attributes(b"\x0a", resource.attributes)
        super().__init__(attributes, careful.text(resource.schema_url))
        if report is not None:
            careful.report_to(report)


def assemble(resource: Enclosure, groups: Iterable[tuple[Any, Sequence[bytes]]]) -> bytes:
    """Return the request that holds, for each instrumentation scope, its fragments; for any signal."""
    return assemble_many([(resource, groups)])


assemble_traces = assemble_logs = assemble_metrics = assemble


def assemble_fragments(resource: Enclosure, fragments: Iterable[tuple[Any, bytes, int]]) -> bytes:
    """Return the request that holds `fragments`, each a scope, bytes and a count of items, grouped by scope."""
    groups: dict[int, tuple[Any, list[bytes]]] = {}
    last: Any = groups
    collected: list[bytes] = []
    for scope, data, _ in fragments:
        if scope is not last:
            last = scope
            collected = groups.setdefault(id(scope), (scope, []))[1]
        collected.append(data)
    return assemble(resource, groups.values())


def assemble_many(parts: Iterable[tuple[Enclosure, Iterable[tuple[Any, Sequence[bytes]]]]]) -> bytes:
    """Return the request that holds several resources, each with scopes and their fragments."""
    request: list[bytes] = []
    for resource, groups in parts:
        scopes: list[bytes] = []
        for scope, fragments in groups:
            if fragments:
                scopes += _enclosed(_SECOND, encoded_scope(scope), fragments)
        if scopes:
            request += _enclosed(_FIRST, resource, scopes)
    return b"".join(request)


def _enclosed(tag: bytes, enclosure: Enclosure, content: Sequence[bytes]) -> Iterator[bytes]:
    size = len(enclosure.head) + sum(map(len, content)) + len(enclosure.tail)
    return iter((tag + varint(size) + enclosure.head, *content, enclosure.tail))


def by_scope(records: Iterable[Any], encode: Callable[[Any], bytes]) -> list[tuple[Any, list[bytes]]]:
    """Encode `records` and group them by instrumentation scope, in the order in which the scopes appear."""
    groups: dict[tuple[bytes, bytes], tuple[Any, list[bytes]]] = {}
    last: Any = groups
    collected: list[bytes] = []
    for record in records:
        try:
            scope = record.scope
        except Exception:  # noqa: BLE001 - a broken record must not cost its neighbours
            scope = None
        if scope is not last:
            last = scope
            encoded = encoded_scope(scope)
            collected = groups.setdefault((encoded.head, encoded.tail), (scope, []))[1]
        collected.append(encode(record))
    return list(groups.values())


class _Kept:
    """Encodings of scopes or resources, found by identity, and one for those that are equal."""

    def __init__(self, make: Callable[[Any], Enclosure]) -> None:
        self._make = make
        self._by_identity: dict[int, tuple[Any, Enclosure]] = {}
        self._by_content: dict[tuple[bytes, bytes], Enclosure] = {}

    def __call__(self, described: Any) -> Enclosure:
        found = self._by_identity.get(id(described))
        if found is not None:
            return found[1]
        if len(self._by_identity) >= KEPT_ENCLOSURES:
            self.forget()
        try:
            new = self._make(described)
        except Exception:  # noqa: BLE001 - a scope that can't be read must not cost its records
            new = Enclosure(b"", b"")
        encoded = self._by_content.setdefault((new.head, new.tail), new)
        self._by_identity[id(described)] = (described, encoded)  # holding it keeps its id from being used again
        return encoded

    def forget(self) -> None:
        """Forget all of them: there are too many, or the policy changed."""
        self._by_identity = {}
        self._by_content = {}

    def __len__(self) -> int:
        return len(self._by_identity)


def _enclosure_of(scope: Any) -> Enclosure:
    if scope is None:
        return Enclosure(b"", b"")
    careful = Careful(raw=True)
    name, version = careful.text(scope.name), careful.text(scope.version)
    attributes, _ = careful.attributes(b"\x1a", _mapping(scope.attributes))
    description = (delimited(_FIRST, name) if name else b"") + (delimited(_SECOND, version) if version else b"")
    return Enclosure(description + attributes, careful.text(scope.schema_url))


def _mapping(attributes: Any) -> Mapping[Any, Any]:
    return attributes if isinstance(attributes, Mapping) else {}


encoded_scope = _Kept(_enclosure_of)
"""Return the encoding of an upstream ``InstrumentationScope`` or its like (None: an unnamed scope)."""

encoded_resource = _Kept(EncodedResource)
"""Return the encoding of an upstream ``Resource``, kept as long as it is in use."""

on_change(encoded_scope.forget)
on_change(encoded_resource.forget)
