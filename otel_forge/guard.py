"""The safety net: after start-up nothing of ours raises into the host application.

Code that runs on behalf of the application is wrapped in ``with guard("what it does"):``. An exception
in it costs that one action, is said once for each place with its traceback, and goes no further.
In tests `set_strict(True)` makes the guard re-raise, so that a swallowed defect cannot hide.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from otel_forge.notices import notice

_strict = False
_said: set[str] = set()


def set_strict(strict: bool) -> None:
    """Make every guard re-raise (tests), or swallow again."""
    global _strict
    _strict = strict


@contextmanager
def guard(action: str) -> Iterator[None]:
    """Run the body; an exception in it is said once for each `action` and swallowed."""
    try:
        yield
    except Exception:
        if _strict:
            raise
        if action not in _said:
            _said.add(action)
            notice(f"{action} failed; the application goes on without it.\n{traceback.format_exc().rstrip()}")
