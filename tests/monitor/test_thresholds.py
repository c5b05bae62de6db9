"""When a share of something is worth a warning."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from otel_forge.monitor.thresholds import Threshold


def test_one_warning_when_high_and_one_word_when_well() -> None:
    """Never one for each sample."""
    threshold = Threshold(80, samples=3)
    percents = [90, 90, 90, 90, 90, 80, 79, 81, 70, 70, 70, 70]
    changes = [threshold.take(percent) for percent in percents]
    assert changes == [None, None, "high", None, None, None, None, None, None, None, "well", None]


@given(st.lists(st.floats(0, 100)))
def test_words_take_turns(percents: list[float]) -> None:
    """High, well, high, well: whatever comes."""
    threshold = Threshold(80, samples=2)
    said = [change for percent in percents if (change := threshold.take(percent))]
    assert said == ["high", "well"] * (len(said) // 2) + ["high"] * (len(said) % 2)
