"""The overlay: a change of variables for one block, and no longer."""

from __future__ import annotations

import pytest

from otel_forge.environment import overlaid


def test_changes_last_for_the_body_only() -> None:
    """Set, removed and added variables are back as they were afterwards."""
    environ = {"KEPT": "1", "CHANGED": "old", "REMOVED": "x"}
    with overlaid(environ, {"CHANGED": "new", "REMOVED": None, "ADDED": "y"}):
        assert environ == {"KEPT": "1", "CHANGED": "new", "ADDED": "y"}
    assert environ == {"KEPT": "1", "CHANGED": "old", "REMOVED": "x"}


def test_an_exception_restores_too() -> None:
    """A constructor that raises leaves no trace in the environment."""
    environ = {"A": "1"}
    with pytest.raises(RuntimeError), overlaid(environ, {"A": None}):
        raise RuntimeError
    assert environ == {"A": "1"}
