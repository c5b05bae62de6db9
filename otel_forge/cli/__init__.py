"""The command `otel-forge`."""

from __future__ import annotations

from otel_forge.cli import stack
from otel_forge.cli.group import main

__all__ = ["main"]

stack.add_to(main)
