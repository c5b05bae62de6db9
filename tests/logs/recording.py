"""The lean instrument of logging, switched on for a block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from otel_forge.instruments.logging import LoggingInstrument
from tests.instruments.conftest import Kept


@contextmanager
def recording(kept: Kept) -> Iterator[None]:
    """Keep in `kept` what loggers handle."""
    instrument = LoggingInstrument(environ={})
    instrument.instrument(kept.core())
    try:
        yield
    finally:
        instrument.uninstrument()
