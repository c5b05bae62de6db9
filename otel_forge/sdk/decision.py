"""The standard samplers, reduced to one comparison.

All of them answer two questions: does the parent decide, and below which bound must the low 64 bits of the
trace id be? A sampler that is none of them is asked by its own method.
"""

from __future__ import annotations

from dataclasses import dataclass

from opentelemetry.sdk.trace import sampling

LOW_BITS = (1 << 64) - 1
ALWAYS, NEVER = 1 << 64, 0


@dataclass(frozen=True)
class Rule:
    """`parent_decides`: a span with a parent follows it. `bound`: sampled if the low bits of the id are below it."""

    parent_decides: bool
    bound: int


def standard_rule(sampler: sampling.Sampler) -> Rule | None:
    """Return the rule that `sampler` stands for, or None if it is not one of the standard samplers as they come."""
    if sampler is sampling.DEFAULT_ON:
        return Rule(True, ALWAYS)
    if sampler is sampling.DEFAULT_OFF:
        return Rule(True, NEVER)
    if type(sampler) is sampling.ParentBasedTraceIdRatio:
        bound = _bound(getattr(sampler, "_root", None))
        return None if bound is None else Rule(True, bound)
    bound = _bound(sampler)
    return None if bound is None else Rule(False, bound)


def _bound(sampler: object) -> int | None:
    if sampler is sampling.ALWAYS_ON:
        return ALWAYS
    if sampler is sampling.ALWAYS_OFF:
        return NEVER
    if type(sampler) is sampling.TraceIdRatioBased:
        return sampler.bound
    return None
