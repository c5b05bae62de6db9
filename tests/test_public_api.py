"""The public face is small and listed."""

from __future__ import annotations

import importlib.metadata

import otel_forge
from otel_forge.delivery.accounts import Account


def test_the_public_names() -> None:
    """Adding to the public API is a decision, not an accident."""
    assert otel_forge.__all__ == ["__version__", "accounts"]


def test_the_accounts_are_there_without_telemetry() -> None:
    """All zero, for each signal."""
    assert otel_forge.accounts() == {"traces": Account(), "metrics": Account(), "logs": Account()}


def test_the_installed_version_is_the_one_in_the_source() -> None:
    """`pip show otel-forge` and `otel_forge.__version__` agree."""
    assert importlib.metadata.version("otel-forge") == otel_forge.__version__


def test_every_dependency_is_a_range() -> None:
    """Users must be able to live with our requirements: nothing is pinned exactly."""
    requirements = [line.split(";")[0] for line in importlib.metadata.requires("otel-forge") or []]
    assert len(requirements) > 10
    assert [line for line in requirements if "==" in line or ">=" not in line] == []
