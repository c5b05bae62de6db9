"""All commands in one group."""

from __future__ import annotations

from otel_forge.cli import run, stack
from otel_forge.cli.group import main

__all__ = ["main"]

run.add_to(main)
stack.add_to(main)
