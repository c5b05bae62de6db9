"""The rule about missing tools, for the native binaries of the stack."""

from __future__ import annotations

import os
from pathlib import Path

from otel_forge.stack.engines import engine_at_hand, engine_path
from otel_forge.stack.settings import StackSettings
from tests.conftest import missing


def require_engine(name: str) -> Path:
    """Return the executable of an engine.

    A laptop that would have to build it first skips the test: that takes minutes, and is for its owner to start. CI
    builds it, and fails where that fails.
    """
    cache = StackSettings.from_env(os.environ).cache_dir
    if os.environ.get("CI"):
        return engine_path(name, cache=cache, environ=os.environ)
    found = engine_at_hand(name, cache=cache, environ=os.environ)
    if found is None:
        missing(f"the engine {name} (python -m otel_forge.stack.engines build {name})")
    assert found is not None
    return found
