"""Values that break encoders: what applications put into telemetry by mistake."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any


class Raises:
    """An object whose text cannot be had."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


class Exits:
    """An object that tries to end the thread that prints it."""

    def __str__(self) -> str:
        raise SystemExit(3)


class RaisingSequence(Sequence[Any]):
    """A sequence that cannot be read."""

    def __len__(self) -> int:
        raise OSError("gone")

    def __getitem__(self, index: Any) -> Any:
        raise OSError("gone")


class EndlessSequence(Sequence[Any]):
    """A sequence that never ends."""

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: Any) -> Any:
        return "x" * 1000


class RaisingMapping(Mapping[str, Any]):
    """A mapping that cannot be read."""

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[str]:
        raise KeyError("gone")

    def __getitem__(self, key: str) -> Any:
        raise KeyError(key)


class LyingInteger(int):
    """An integer that is not itself in arithmetic."""

    def __and__(self, other: Any) -> Any:
        raise ArithmeticError

    __index__ = __int__ = __add__ = __lt__ = __le__ = __gt__ = __ge__ = __and__  # type: ignore[assignment]


class LyingText(str):
    """A text that is not itself in any of its methods."""

    __slots__ = ()

    def encode(self, *_: Any) -> Any:
        raise UnicodeError

    def __getitem__(self, _: Any) -> Any:
        raise IndexError

    def __len__(self) -> int:
        raise ValueError

    def __str__(self) -> str:
        raise TypeError


def cyclic_list() -> list[Any]:
    """A list that holds itself twice."""
    cycle: list[Any] = ["start"]
    cycle += [cycle, cycle]
    return cycle


def cyclic_mapping() -> dict[str, Any]:
    """A mapping that holds itself."""
    cycle: dict[str, Any] = {"start": True}
    cycle["self"] = [cycle]
    return cycle


def deep_list(levels: int = 100_000) -> list[Any]:
    """Lists in lists, deeper than the interpreter's recursion limit."""
    nested: list[Any] = []
    for _ in range(levels):
        nested = [nested]
    return nested


def ever_more() -> list[Any]:
    """Thirty lists that each hold the next one ten times: 10**30 items if one follows them all."""
    shared: list[Any] = ["x"]
    for _ in range(30):
        shared = [shared] * 10
    return shared


VALUES: tuple[Any, ...] = (
    "caf\udce9.txt",
    "\ud83d",
    1 << 63,
    -(1 << 63) - 1,
    1 << 70,
    10**5000,
    1.5,
    -1,
    -1.5,
    float("nan"),
    float("inf"),
    None,
    True,
    b"\xff\xfe",
    bytearray(b"ab"),
    memoryview(b"ab"),
    {1, 2},
    object(),
    type,
    Raises(),
    Exits(),
    RaisingSequence(),
    RaisingMapping(),
    LyingInteger(7),
    LyingText("lie"),
    cyclic_list(),
    cyclic_mapping(),
    deep_list(),
    {"\ud800": "\udfff", Raises(): 1, None: 2, "": 3},
    [Raises(), "\ud800", 1 << 80],
    (1, 2, 3, 4, 5),
    ("name", 1, {"a": Raises()}),
    [("name", 1.5, {"\ud800": 1}), None, 3],
    [(1, 2, 0, None, {"a": Raises()}), (1 << 200, -1, "x", 4, 5)],
)
"""In no order of malice; some are all right in one field and wrong in another."""
