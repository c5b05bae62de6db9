"""Units as people write them, and what they are recorded in: the base units that the conventions ask for, in UCUM.

Seconds and not milliseconds, bytes and not megabytes, ratios from 0 to 1 and not percents (OpenTelemetry semantic
conventions, "Instrument units"; Prometheus, "Base units"). What is counted stands in braces.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

from otel_forge.errors import MetricError

Kind = Literal["counter", "up_down_counter", "histogram", "gauge"]
KINDS: tuple[Kind, ...] = ("counter", "up_down_counter", "histogram", "gauge")

ALLOWED = (
    "ns, us, ms, s, min, h, d, bytes, KB, MB, GB, KiB, MiB, GiB, percent, ratio, count, "
    "or what is counted in braces, such as {asset}"
)
_ANNOTATION = re.compile(r"\{[A-Za-z0-9_.]{1,60}\}")


@dataclass(frozen=True)
class Unit:
    """A unit: values given in it are multiplied and divided, and recorded in the UCUM unit `ucum`.

    `kind` is that of the instrument that fits such values, if nobody says otherwise; `words` are its other names.
    """

    ucum: str
    kind: Kind
    multiply: int = 1
    divide: int = 1
    words: tuple[str, ...] = ()

    @property
    def is_converted(self) -> bool:
        """Whether values change on their way."""
        return self.multiply != self.divide


def _time(words: str, multiply: int = 1, divide: int = 1) -> Unit:
    return Unit("s", "histogram", multiply, divide, tuple(words.split()))


def _bytes(words: str, multiply: int = 1) -> Unit:
    return Unit("By", "histogram", multiply, 1, tuple(words.split()))


_UNITS = (
    _time("ns nanos nanosecond nanoseconds", divide=1_000_000_000),
    _time("us µs μs usec micros microsecond microseconds", divide=1_000_000),
    _time("ms msec millis millisecond milliseconds", divide=1_000),
    _time("s sec secs second seconds"),
    _time("min minute minutes", 60),
    _time("h hour hours", 3_600),
    _time("d day days", 86_400),
    _bytes("By B byte bytes"),
    _bytes("KB kB KBy kilobyte kilobytes", 1_000),
    _bytes("MB MBy megabyte megabytes", 1_000_000),
    _bytes("GB GBy gigabyte gigabytes", 1_000_000_000),
    _bytes("KiB KiBy kibibyte kibibytes", 1 << 10),
    _bytes("MiB MiBy mebibyte mebibytes", 1 << 20),
    _bytes("GiB GiBy gibibyte gibibytes", 1 << 30),
    Unit("1", "gauge", 1, 100, ("percent", "%")),
    Unit("1", "gauge", words=("ratio", "1")),
    Unit("{count}", "counter", words=("count", "counts")),
)
_BY_WORD = {word: unit for unit in _UNITS for word in unit.words}


def unit_of(text: Any) -> Unit:
    """Return the unit that `text` names; raises MetricError, saying what is allowed, if it names none."""
    if isinstance(text, str):
        known = _BY_WORD.get(text) or _BY_WORD.get(text.lower())
        if known is not None:
            return known
        if _ANNOTATION.fullmatch(text):
            return Unit(text, "counter")
    raise MetricError("unit", f"the unit {text!r:.60} is not known; allowed are {ALLOWED}")


def kind_of(text: Any) -> Kind:
    """Return the kind of instrument that `text` names; raises MetricError, saying what is allowed, if it names none."""
    for kind in KINDS:
        if text == kind:
            return kind
    raise MetricError("kind", f"the kind {text!r:.60} is not known; allowed are {', '.join(KINDS)}")
