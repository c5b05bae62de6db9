"""Small wrong changes to a rule file, each of which a rule test has to notice."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Rules = dict[str, Any]

# Tokens of an expression that may be changed; what stands in quotes or in a name is skipped.
_TOKEN = re.compile(
    r'"[^"]*"'
    r"|(?P<duration>(?<=\[)\d+[smhd](?=\]))"
    r"|(?P<name>[A-Za-z_:][\w:]*)"
    r"|(?P<number>\d+(?:\.\d+)?)"
    r"|(?P<operator>>=|<=|==|!=|=~|!~|[<>*/+-])"
)
_WORDS = {"and": ("or", "unless"), "or": ("and",), "max": ("min",), "sum": ("max",)}
_OPERATORS = {
    ">": (">=", "<"),
    "<": ("<=", ">"),
    ">=": (">", "<"),
    "<=": ("<", ">"),
    "+": ("-",),
    "-": ("+",),
    "*": ("/",),
    "/": ("*",),
}
# Small changes: a test that notices these notices larger ones.
_FACTORS = (0.8, 1.25)


@dataclass(frozen=True)
class Mutant:
    """One changed rule file: which rule, what was changed, and the file."""

    rule: str
    change: str
    rules: Rules


def mutants(rules: Rules) -> Iterator[Mutant]:
    """Yield every mutant of a rule file, one change each."""
    for index, rule in enumerate(rules["groups"][0]["rules"]):
        name = rule.get("alert") or rule["record"]
        for change, expr in changed_expressions(rule["expr"]):
            yield Mutant(name, change, _with(rules, index, "expr", expr))
        for duration in changed_durations(rule.get("for", "0s")):
            yield Mutant(name, f"for {rule['for']} -> {duration}", _with(rules, index, "for", duration))


def changed_expressions(expr: str) -> Iterator[tuple[str, str]]:
    """Yield (what was changed, the changed expression) for every threshold, operator and duration."""
    for match in _TOKEN.finditer(expr):
        for replacement in _replacements(match):
            changed = f"{expr[: match.start()]}{replacement}{expr[match.end() :]}"
            around = expr[max(0, match.start() - 20) : match.end() + 10]
            yield f"{match[0]} -> {replacement} in ...{around}...", changed


def changed_durations(written: str) -> list[str]:
    """Return other durations; none for a rule that waits for nothing."""
    seconds = _seconds(written)
    return [f"{seconds * factor:g}s" for factor in _FACTORS] if seconds else []


def _replacements(match: re.Match[str]) -> list[str]:
    if match["duration"]:
        return [f"{_seconds(match[0]) * factor:g}s" for factor in _FACTORS]
    if match["name"]:
        return list(_WORDS.get(match[0], ()))
    if match["number"]:
        value = float(match[0])
        return [f"{value * factor:g}" for factor in _FACTORS] if value else ["1"]
    return list(_OPERATORS.get(match["operator"] or "", ()))


def _seconds(written: str) -> float:
    return float(written[:-1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[written[-1]]


def _with(rules: Rules, index: int, key: str, value: str) -> Rules:
    changed = copy.deepcopy(rules)
    changed["groups"][0]["rules"][index][key] = value
    return changed
