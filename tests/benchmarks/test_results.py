"""Disqualification and the figures that are read off the rounds."""

from __future__ import annotations

from benchmarks.arrivals import Arrivals
from benchmarks.results import Results
from benchmarks.subject.requests_by_kind import KINDS, Implied, kind_named
from benchmarks.variants import BASELINE, FORGE, STOCK

ALL = ("spans", "logs", "durations")


def delivered(results: Results, variant: str, *, spans: int, logs: int, durations: int = 100) -> None:
    arrived = Arrivals(spans=spans, logs=logs, durations=durations)
    results.deliveries["asset", variant].add(100, KINDS["asset"].implied, arrived)
    results.signals[variant] = ALL


def test_a_variant_that_delivered_everything_counts() -> None:
    results = Results()
    delivered(results, FORGE, spans=200, logs=100)
    assert results.disqualified(FORGE) == ""


def test_a_variant_that_delivered_fewer_spans_and_logs_is_disqualified_with_the_numbers() -> None:
    results = Results()
    delivered(results, FORGE, spans=199, logs=40)
    assert results.disqualified(FORGE) == "asset: 199 of 200 spans, 40 of 100 logs"


def test_a_variant_whose_histogram_missed_requests_is_disqualified() -> None:
    results = Results()
    delivered(results, FORGE, spans=200, logs=100, durations=99)
    assert results.disqualified(FORGE) == "asset: 99 of 100 durations"


def test_a_surplus_in_one_signal_does_not_make_up_for_another() -> None:
    results = Results()
    delivered(results, FORGE, spans=900, logs=0)
    assert results.disqualified(FORGE) == "asset: 0 of 100 logs"


def test_a_round_that_made_up_for_an_earlier_one_is_no_loss() -> None:
    results = Results()
    delivered(results, FORGE, spans=150, logs=100)
    delivered(results, FORGE, spans=250, logs=100)
    assert results.disqualified(FORGE) == ""


def test_bodies_that_cannot_be_decoded_disqualify() -> None:
    results = Results()
    results.deliveries["asset", FORGE].add(0, Implied(0, 0), Arrivals(undecodable=2))
    assert results.disqualified(FORGE) == "asset: 2 requests that can't be decoded"


def test_wrong_answers_disqualify() -> None:
    results = Results()
    results.wrong[FORGE] = 3
    assert results.disqualified(FORGE) == "3 wrong answers"


def test_a_product_is_held_to_the_signals_it_has() -> None:
    results = Results()
    results.deliveries["asset", "ddtrace"].add(100, KINDS["asset"].implied, Arrivals(spans=500))
    results.signals["ddtrace"] = ("spans",)
    assert results.disqualified("ddtrace") == ""


def test_ratios_compare_what_is_added_within_the_same_round() -> None:
    results = Results()
    results.cpu["asset"].update({BASELINE: [100.0, 200.0], STOCK: [600.0, 1200.0], FORGE: [140.0, 280.0]})
    ratio = results.ratio_to_stock(results.cpu, "asset", FORGE)
    assert ratio is not None
    assert (ratio.middle, ratio.rounds) == (0.08, 2)


def test_without_stock_in_the_run_there_is_no_ratio() -> None:
    results = Results()
    results.cpu["asset"].update({BASELINE: [100.0], FORGE: [140.0]})
    assert results.ratio_to_stock(results.cpu, "asset", FORGE) is None


def test_a_request_of_many_spans_implies_them_all_and_the_server_span() -> None:
    assert kind_named("scale-100-3").implied == Implied(spans=101, logs=0)
