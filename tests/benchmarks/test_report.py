"""The report."""

from __future__ import annotations

from benchmarks.arrivals import Arrivals
from benchmarks.report import report, table
from benchmarks.results import Results
from benchmarks.subject.requests_by_kind import KINDS
from benchmarks.variants import BASELINE, FORGE, STOCK


def measured() -> Results:
    results = Results(variants=[BASELINE, STOCK, FORGE], facts={"date": "2026-11-23 13:00 UTC"})
    results.cpu["asset"].update({BASELINE: [100.0, 110.0], STOCK: [600.0, 610.0], FORGE: [140.0, 150.0]})
    results.signals = {STOCK: ("spans", "logs"), FORGE: ("spans", "logs")}
    results.deliveries["asset", STOCK].add(10, KINDS["asset"].implied, Arrivals(spans=20, logs=10))
    results.deliveries["asset", FORGE].add(10, KINDS["asset"].implied, Arrivals(spans=20, logs=9))
    return results


def test_columns_line_up_with_names_left_and_figures_right() -> None:
    assert table(["variant", "µs"], [["a", "1"], ["longer name", "1234"]]) == (
        "| variant     |   µs |\n| ----------- | ---: |\n| a           |    1 |\n| longer name | 1234 |"
    )


def test_cost_is_shown_absolutely_added_and_against_stock_with_the_rounds() -> None:
    assert "| stock-http           | 605 (602-608) | 500 (500-500) | 1.000 (1.000-1.000) |      2 |" in report(
        measured()
    )


def test_a_disqualified_variant_is_marked_beside_its_figures_and_the_reason_given() -> None:
    text = report(measured())
    assert "| forge (disqualified) |" in text
    assert "- forge is disqualified: asset: 9 of 10 logs" in text


def test_what_was_left_out_is_said_with_the_reason() -> None:
    results = measured()
    results.skipped["splunk"] = "cannot be installed: no matching distribution"
    assert "- splunk: cannot be installed: no matching distribution" in report(results)


def test_sections_without_measurements_are_left_out() -> None:
    text = report(measured())
    assert "## gunicorn" not in text
    assert "## Start" not in text
    assert "\n\n\n" not in text


def test_gates_that_were_not_measured_say_so() -> None:
    line = next(line for line in report(measured()).splitlines() if "F6 memory added" in line)
    assert line.endswith("not measured |")
