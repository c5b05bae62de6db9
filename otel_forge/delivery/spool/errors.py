"""The two ways in which the spool says no; nothing else is ever raised out of it."""

from __future__ import annotations


class SpoolFull(Exception):
    """The quota has no room for a record; with `too_large` it would have none even if the spool were empty."""

    def __init__(self, size: int, *, too_large: bool = False) -> None:
        super().__init__(f"no room for {size:,} bytes" + (", not even in an empty spool" if too_large else ""))
        self.size = size
        self.too_large = too_large


class SpoolFailed(Exception):
    """The file system refused; `reason` says it to people. It is right to go on in memory, and to try again later."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
