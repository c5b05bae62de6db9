"""The command line's bounds, its file and its exit status."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import pytest

from benchmarks.cli import conclude, main, within_bounds
from benchmarks.measure import FULL
from benchmarks.profiling import rendered
from benchmarks.results import Results
from tests.benchmarks.test_gates import passing


def options(command: str = "full", *, check: bool = True, results: str = "") -> Namespace:
    return Namespace(command=command, check=check, results=results)


def test_a_check_ends_well_when_every_gate_holds() -> None:
    assert conclude(passing(), options()) == 0


def test_a_check_fails_when_a_gate_does_not_hold() -> None:
    results = passing()
    results.wrong["forge"] = 1
    assert conclude(results, options()) == 1
    assert conclude(results, options(check=False)) == 0


def test_what_quick_does_not_measure_fails_only_the_full_check() -> None:
    results = passing()
    results.sets.clear()
    assert (conclude(results, options("quick")), conclude(results, options("full"))) == (0, 1)


def test_a_run_without_our_variant_fails_the_check_of_either() -> None:
    assert (conclude(Results(), options("quick")), conclude(Results(), options("full"))) == (1, 1)


def test_the_report_is_written_to_the_file_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    conclude(passing(), options(results=str(tmp_path / "results.md")))
    assert (tmp_path / "results.md").read_text() + "\n" == capsys.readouterr().out


def test_more_variants_get_fewer_rounds_so_that_a_run_ends_in_time() -> None:
    assert within_bounds(FULL, 5) == FULL
    assert (within_bounds(FULL, 10).rounds, within_bounds(FULL, 10).start_rounds) == (6, 9)


def test_a_wrong_variant_is_said_with_the_right_ones() -> None:
    with pytest.raises(SystemExit, match="frge: no such variant"):
        main(["quick", "--variants", "frge"])


def test_a_profile_shows_what_was_asked_for_and_not_the_harness() -> None:
    own = [("MainThread", "benchmarks/subject/worker.py:1 Worker", 9.0), ("MainThread", "sdk/span.py:1 end", 2.0)]
    own.append(("MainThread", "flask/app.py:1 Flask", 5.0))
    text = rendered("title", {"own": own, "inclusive": own, "threads": {"MainThread": 16.0}}, 10, matching="span")
    assert "sdk/span.py:1 end" in text
    assert "flask" not in text
    assert "worker.py" not in text
