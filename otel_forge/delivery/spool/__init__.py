"""The spool: what could not be delivered yet, on the disk, where a crash cannot reach it.

Each process has a directory of its own, held by a lock, and in it one log of segments per signal. What a process
leaves behind is taken over by the next one that finds its lock free.
"""

from otel_forge.delivery.spool.errors import SpoolFailed, SpoolFull
from otel_forge.delivery.spool.files import Files, OsFiles
from otel_forge.delivery.spool.ownership import SpoolDirectory, service_slug
from otel_forge.delivery.spool.quota import Quota
from otel_forge.delivery.spool.segment import Entry
from otel_forge.delivery.spool.spool import Fsync, Spool

__all__ = [
    "Entry",
    "Files",
    "Fsync",
    "OsFiles",
    "Quota",
    "Spool",
    "SpoolDirectory",
    "SpoolFailed",
    "SpoolFull",
    "service_slug",
]
