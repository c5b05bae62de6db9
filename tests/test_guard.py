"""The guard: nothing of ours raises into the host, and nothing is hidden."""

from __future__ import annotations

import pytest

from otel_forge import guard as guard_module
from otel_forge.guard import guard, set_strict


def test_in_production_an_exception_is_said_once_and_swallowed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first failure of an action prints its traceback; further ones are silent; the body's rest is skipped."""
    monkeypatch.setattr(guard_module, "_said", set())
    set_strict(False)
    for _ in range(3):
        with guard("measuring the tide"):
            raise ValueError("no water")
    said = capsys.readouterr().err
    assert said.count("otel-forge: measuring the tide failed; the application goes on without it.") == 1
    assert "ValueError: no water" in said


def test_in_tests_the_guard_raises() -> None:
    """A swallowed defect can't hide in a green test."""
    with pytest.raises(ValueError, match="no water"), guard("measuring the tide"):
        raise ValueError("no water")


def test_the_way_out_of_a_program_is_never_blocked() -> None:
    """SystemExit and KeyboardInterrupt pass, strict or not."""
    set_strict(False)
    with pytest.raises(SystemExit), guard("leaving"):
        raise SystemExit(3)
