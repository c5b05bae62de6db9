"""A batch: a finished OTLP request with what needs to be known of it, as it waits, is stored and is sent.

A serialized request is a row of resources. Two of them one after the other are one request with the
resources of both, so small batches join by joining their bytes; what is too large is cut by
`otel_forge.otlp.splitting`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from otel_forge.settings import Signal

Fragment = tuple[Any, bytes, int]
"""One record: its instrumentation scope, its bytes, and how many items it counts as (a metric: its points)."""

MAX_BATCH_BYTES = 1024 * 1024
"""A batch that has reached this size is complete, however few records it holds."""

_ODD = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Batch:
    """Records of one signal as the request that carries them.

    `id` is 16 hexadecimal digits, the same for every try and after a restart; `body` is uncompressed; `items` are
    spans, log records or metric points; `created` is the wall clock in seconds; `important` says that an error is
    among them, so that others are given up first.
    """

    id: str
    signal: Signal
    body: bytes
    items: int
    created: float
    important: bool = False

    @property
    def size(self) -> int:
        """Bytes of the request."""
        return len(self.body)


class Packer:
    """Makes batches of one signal out of fragments; `assemble` puts resource and scopes around them.

    A forked child calls `forget`, or it would give the same ids as its parent.
    """

    def __init__(
        self,
        signal: Signal,
        assemble: Callable[[Sequence[Fragment]], bytes],
        *,
        max_bytes: int = MAX_BATCH_BYTES,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._signal = signal
        self._assemble = assemble
        self._max_bytes = max_bytes
        self._wall = wall
        self.forget()

    def forget(self) -> None:
        """Give other ids from now on."""
        self._random = Random()  # noqa: S311 - told apart, not guessed

    def pack(self, fragments: Sequence[Fragment], *, important: bool = False) -> list[Batch]:
        """Return `fragments` as batches, as few as their size allows."""
        return [
            Batch(
                f"{self._random.getrandbits(64):016x}",
                self._signal,
                self._assemble(part),
                sum([items for _, _, items in part]),
                self._wall(),
                important,
            )
            for part in self._parts(fragments)
        ]

    def _parts(self, fragments: Sequence[Fragment]) -> Iterator[Sequence[Fragment]]:
        """Cut where a part has reached the size."""
        if fragments and sum([len(data) for _, data, _ in fragments]) <= self._max_bytes:
            yield fragments
            return
        start = size = 0
        for index, (_, data, _) in enumerate(fragments, 1):
            size += len(data)
            if size >= self._max_bytes:
                yield fragments[start:index]
                start, size = index, 0
        if start < len(fragments):
            yield fragments[start:]


def part_ids(whole: str, parts: int) -> Iterable[str]:
    """Return an id for each part of the batch `whole`: the same parts get the same ids whenever it is cut."""
    return [f"{(int(whole, 16) * _ODD + part + 1) & _MASK:016x}" for part in range(parts)]
