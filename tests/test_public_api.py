"""The public face is small and listed."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys

import pytest

import otel_forge
from otel_forge.delivery.accounts import Account


def test_the_public_names() -> None:
    """Adding to the public API is a decision, not an accident."""
    assert otel_forge.__all__ == [
        "ErrorBoundary",
        "Forge",
        "HealthRoutes",
        "RateLimits",
        "RequestLog",
        "__version__",
        "accounts",
        "bind_context",
        "capture_error",
        "carry",
        "clear_context",
        "configure_logging",
        "get_logger",
        "log_context",
        "track_performance",
        "unbind_context",
    ]
    assert all(callable(getattr(otel_forge, name)) for name in otel_forge.__all__ if name != "__version__")
    assert set(otel_forge.__all__) <= set(dir(otel_forge))


def test_a_name_that_there_is_not_is_an_attribute_error() -> None:
    """As in any module."""
    with pytest.raises(AttributeError, match="module 'otel_forge' has no attribute 'nothing'"):
        otel_forge.nothing  # noqa: B018


def test_importing_the_package_imports_nothing_else() -> None:
    """Start-up pays for every import (gate F6)."""
    code = "import sys, otel_forge; print(sorted(name for name in sys.modules if name.startswith('otel_forge.')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['otel_forge.lazily', 'otel_forge.version']"


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
