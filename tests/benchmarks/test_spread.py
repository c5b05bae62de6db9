"""Statistics and the order of rounds."""

import pytest

from benchmarks.spread import Spread, paired, percentile, ratios, turn


def test_the_middle_is_the_median_so_that_one_slow_round_does_not_count() -> None:
    assert Spread.of([1.0, 2.0, 3.0, 4.0, 1000.0]) == Spread(3.0, 2.0, 4.0, 5)


def test_one_round_is_its_own_spread_and_is_shown_without_quartiles() -> None:
    assert Spread.of([7.0]).text(1) == "7.0"


def test_a_spread_is_shown_with_its_quartiles() -> None:
    assert Spread(110.4, 98.0, 120.6, 9).text() == "110 (98-121)"


def test_pairs_take_out_what_slowed_down_a_whole_round() -> None:
    assert paired([150.0, 300.0], [100.0, 250.0]) == [50.0, 50.0]


def test_pairs_of_different_numbers_of_rounds_are_refused() -> None:
    with pytest.raises(ValueError, match="longer than"):
        paired([1.0], [1.0, 2.0])


def test_a_round_in_which_stock_added_nothing_says_nothing() -> None:
    assert ratios([5.0, 5.0], [50.0, -1.0]) == [0.1]


def test_percentiles_are_nearest_rank() -> None:
    values = [float(number) for number in range(1, 101)]
    assert (percentile(values, 0.5), percentile(values, 0.99), percentile(values, 1.0)) == (51.0, 100.0, 100.0)


def test_every_variant_is_first_once_and_each_round_holds_all() -> None:
    assert [turn(["a", "b", "c"], number) for number in range(4)] == [
        ["a", "b", "c"],
        ["b", "c", "a"],
        ["c", "a", "b"],
        ["a", "b", "c"],
    ]
