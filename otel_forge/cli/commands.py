"""All commands in one group."""

from __future__ import annotations

from otel_forge.cli import audit, log_level, logs, run, stack
from otel_forge.cli.group import main

__all__ = ["main"]

run.add_to(main)
stack.add_to(main)
logs.add_to(main)
log_level.add_to(logs.logs)
audit.add_to(main)
