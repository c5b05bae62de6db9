"""The page that says what can be lost names every reason, and no test that does not exist."""

from __future__ import annotations

import re
from pathlib import Path

from otel_forge.delivery.accounts import Reason

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "delivery.md"
NAMED = re.compile(r"`([\w/]+\.py)::(\w+)`")


def test_every_test_that_the_page_names_exists() -> None:
    """By file and name."""
    named = NAMED.findall(PAGE.read_text(encoding="utf-8"))
    assert len(named) > 40
    for path, name in named:
        source = (TESTS / path).read_text(encoding="utf-8")
        assert re.search(rf"^(    )?(async )?(def |class ){name}\b|^{name}\b", source, re.M), f"{path} has no {name}"


def test_every_way_to_lose_a_record_names_a_test_or_says_why_not() -> None:
    """In the tables of losses and of repetitions."""
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    shown = [row for row in rows if NAMED.search(row) or "decision 008" in row]
    headings = [row for row in rows if "shown by" in row]
    runs = [row for row in rows if "`python -m" in row or "| command |" in row or row.startswith("| policy")]
    kills = [row for row in rows if re.match(r"\| `(always|interval|never)`", row)]
    assert [row for row in rows if row not in shown + headings + runs + kills] == []


def test_every_reason_is_in_the_page() -> None:
    """So that what a count means can be looked up."""
    text = PAGE.read_text(encoding="utf-8")
    assert [reason.value for reason in Reason if f"`{reason.value}`" not in text] == []
