"""What the back end refused for good is kept apart, for people to look at; it is never sent again."""

from __future__ import annotations

import os

from otel_forge.delivery.batch import Batch
from otel_forge.delivery.spool import format
from otel_forge.delivery.spool.files import Files
from otel_forge.delivery.spool.handle import Handle

CAPACITY = 1 << 20
"""Bytes per signal. The first ones are kept: they show best when and how it began."""


def keep_refused(files: Files, folder: str, batch: Batch, now: float) -> bool:
    """Append a batch to the file of what was refused; tell whether it had room. Raises OSError."""
    path = os.path.join(folder, f"refused-{batch.signal}.seg")
    try:
        handle = Handle.opened(files, files.create(path))
    except FileExistsError:
        handle = Handle.opened(files, files.open(path))
    try:
        return _append(handle, batch, now)
    finally:
        handle.close()


def _append(handle: Handle, batch: Batch, now: float) -> bool:
    offset = handle.size()
    if not offset:
        header = format.segment_header(batch.signal, now, 0)
        handle.write((header,), 0)
        offset = len(header)
    data = format.record_header(batch, offset)
    if offset + len(data) + len(batch.body) > CAPACITY:
        return False
    try:
        handle.write((data, batch.body), offset)
    except OSError:
        handle.truncate(offset)
        raise
    return True
