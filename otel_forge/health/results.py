"""What a check found: pass, warn or fail, in the words of ``application/health+json``, and what may be said of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from otel_forge.redaction import policy

Status = Literal["pass", "warn", "fail"]
PASS: Status = "pass"  # noqa: S105 - no password
WARN: Status = "warn"
FAIL: Status = "fail"
BADNESS: dict[Status, int] = {PASS: 0, WARN: 1, FAIL: 2}

TIMEOUT = "timeout"
"""The reason of a check that did not come back in time."""
REFUSED = "failed"
"""The reason of a check that says by itself that it failed."""
_LONGEST, _LONGEST_UNIT = 500, 32


@dataclass(frozen=True)
class Result:
    """What a check found: `status` is ``pass``, ``warn`` (well, but look at it) or ``fail``.

    `detail` is for people who hold the token, `reason` a class of failures (``timeout``, the name of an exception's
    class). `observed` is a measured value in `unit` (``percent``), which everybody may see. Raises ValueError for
    another status.
    """

    status: Status
    detail: str = ""
    observed: float | None = None
    unit: str = ""
    reason: str = ""

    def __post_init__(self) -> None:
        if self.status not in BADNESS:
            raise ValueError(f"status={self.status!r} is not one of pass, warn, fail.")


def result_of(answer: Any) -> Result:
    """Return what the `answer` of a check function means: None and True are well, False is ill."""
    if isinstance(answer, Result):
        reason = answer.reason or (REFUSED if answer.status == FAIL else "")
        unit = shown(answer.unit)[:_LONGEST_UNIT]
        return Result(answer.status, shown(answer.detail), _number(answer.observed), unit, shown(reason))
    if answer is None or answer is True:
        return Result(PASS)
    if answer is False:
        return Result(FAIL, reason=REFUSED)
    kind = type(answer).__name__
    return Result(FAIL, f"the check returned {kind!r} and not None, True, False or a Result.", reason="bad answer")


def result_of_error(error: BaseException) -> Result:
    """Return the failure that an exception of a check function stands for."""
    try:
        detail = shown(str(error))
    except Exception:  # noqa: BLE001 - an exception of the application's that cannot say what it is
        detail = ""
    return Result(FAIL, detail, reason=TIMEOUT if isinstance(error, TimeoutError) else type(error).__name__)


def timed_out(timeout: float) -> Result:
    """Return the failure of a check that has not come back within `timeout` seconds."""
    return Result(FAIL, f"no answer within {timeout:g} s", reason=TIMEOUT)


def _number(value: Any) -> float | None:
    """Return a measured value; None for what JSON has no number for."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def shown(text: str) -> str:
    """Return `text` without secrets, of a length that can be shown."""
    clean = policy().text(str(text))
    return clean if len(clean) <= _LONGEST else f"{clean[:_LONGEST]}…"
