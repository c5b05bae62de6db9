"""The gates, decided on given numbers."""

from __future__ import annotations

import pytest

from benchmarks.gates import Gate, gates
from benchmarks.results import Results, Served, SetsSeen, Start
from benchmarks.variants import BASELINE, FORGE, FORGE_RUN, STOCK


def passing() -> Results:
    """Return results with which every gate holds, by a little."""
    results = Results(variants=[BASELINE, STOCK, FORGE])
    for kind, forge in (("asset", 150.0), ("post", 150.0), ("logged", 150.0), ("error", 162.5)):
        results.cpu[kind].update({BASELINE: [100.0], STOCK: [600.0], FORGE: [forge]})
    results.full_load.update({BASELINE: [Served(1000, 5, 13, 300)], FORGE: [Served(850, 5, 14, 340)]})
    results.paced_load.update({BASELINE: [Served(200, 2, 13, 300)], FORGE: [Served(200, 2, 14, 340)]})
    for behaviour, p99 in (("healthy", 10.0), ("refuse", 10.5), ("black_hole", 10.5), ("slow_answer", 10.5)):
        results.under_fault[behaviour].append(Served(200, 2, p99, 300, (p99,)))
        results.handing_over[behaviour] = {"p50_us": 0.4, "p999_us": 1000.0, "long": 50.0, "idle_long": 1.0}
    results.starts.update({BASELINE: [Start(400, 300, 40, 41)], FORGE_RUN: [Start(550, 400, 50, 56)]})
    for kind, forge in (("1-3", 105.0), ("10-3", 150.0), ("100-3", 600.0), ("100-13", 700.0), ("100-50", 1070.0)):
        results.scaling[f"scale-{kind}"].update({BASELINE: [100.0], FORGE: [forge]})
    for threads in ("1", "8", "32"):
        results.threads[threads].update({BASELINE: [100.0], FORGE: [140.0]})
    for count in (10_000, 100_000):
        results.sets[count][FORGE] = SetsSeen(2.0, 2001, 1, 60)
    return results


def failing(results: Results) -> list[str]:
    return [f"{gate.name} {gate.text}" for gate in gates(results) if not gate.holds]


def test_numbers_at_the_limits_hold() -> None:
    assert failing(passing()) == []


@pytest.mark.parametrize(("kind", "cost"), [("asset", 151.0), ("post", 151.0), ("logged", 151.0), ("error", 163.5)])
def test_a_request_just_above_its_share_of_stock_fails(kind: str, cost: float) -> None:
    results = passing()
    results.cpu[kind][FORGE] = [cost]
    assert failing(results) == [f"P1 added CPU, {kind} request, ÷ stock"]


def test_throughput_just_below_its_share_fails() -> None:
    results = passing()
    results.full_load[FORGE] = [Served(849, 5, 14, 340)]
    assert failing(results) == ["P2 gunicorn throughput ÷ uninstrumented (at least)"]


@pytest.mark.parametrize("behaviour", ["refuse", "black_hole", "slow_answer"])
def test_a_p99_that_a_failing_back_end_raises_fails(behaviour: str) -> None:
    results = passing()
    results.under_fault[behaviour] = [Served(200, 2, 10.6, 300, (10.6,))]
    assert failing(results) == [f"P3 p99 with the back end in {behaviour.replace('_', ' ')} ÷ healthy"]


def test_a_request_thread_that_waits_fails() -> None:
    results = passing()
    results.handing_over["black_hole"] = {"p999_us": 1001.0}
    assert failing(results) == ["P3 p99.9 of handing a span over, the worst back end, ms"]


def test_a_slow_start_and_much_memory_fail() -> None:
    results = passing()
    results.starts[FORGE_RUN] = [Start(551, 400, 50, 57)]
    assert failing(results) == ["F6 start-up added by otel-forge run, ms", "F6 memory added, MiB"]


def test_the_start_is_judged_with_our_own_launcher() -> None:
    results = passing()
    results.starts[FORGE] = [Start(900, 400, 50, 99)]
    assert failing(results) == []


def test_spans_that_cost_more_the_more_there_are_fail() -> None:
    results = passing()
    for kind, cost in (("100-3", 900.0), ("100-13", 1000.0), ("100-50", 1370.0)):
        results.scaling[f"scale-{kind}"][FORGE] = [cost]
    assert failing(results) == ["P5 cost of a span, 10 to 100 ÷ 1 to 10"]


def test_attributes_that_cost_more_the_more_there_are_fail() -> None:
    results = passing()
    results.scaling["scale-100-50"][FORGE] = [1200.0]
    assert failing(results) == ["P5 cost of an attribute, 13 to 50 ÷ 3 to 13"]


def test_threads_that_hinder_each_other_fail() -> None:
    results = passing()
    results.threads["32"][FORGE] = [180.0]
    assert failing(results) == ["P5 CPU ÷ uninstrumented, 32 threads ÷ 1 thread"]


@pytest.mark.parametrize("seen", [SetsSeen(2.0, 100_001, 1, 300), SetsSeen(2.0, 2000, 0, 60), SetsSeen(2.0, 0, 0, 60)])
def test_series_without_a_cap_or_without_an_overflow_series_fail(seen: SetsSeen) -> None:
    results = passing()
    results.sets[10_000][FORGE] = seen
    assert failing(results) == ["P5 series of 10,000 attribute sets, with an overflow series"]


def test_cheapness_by_dropping_fails() -> None:
    results = passing()
    results.wrong[FORGE] = 1
    assert failing(results) == [f"P1 {FORGE} delivers everything: 1 wrong answers"]


def test_what_was_not_measured_does_not_hold() -> None:
    found = gates(Results())
    assert not any(gate.holds for gate in found)
    assert found[1] == Gate("P1", "added CPU, asset request, ÷ stock", None, 0.10, False)


def test_a_variant_that_could_not_run_is_said_to_be_why() -> None:
    results = Results(skipped={FORGE: "forge runs on opentelemetry.sdk.trace, not on otel_forge.*"})
    assert gates(results)[0].text.endswith("everything: forge runs on opentelemetry.sdk.trace, not on otel_forge.*")


def test_a_request_that_costs_too_much_under_sustained_load_fails() -> None:
    results = passing()
    results.sustained["asset"].update({BASELINE: [100.0], STOCK: [600.0], FORGE: [151.0]})
    results.sustained["post"].update({BASELINE: [100.0], STOCK: [600.0], FORGE: [149.0]})
    assert failing(results) == ["P1 added CPU, asset request, ÷ stock"]
