"""All commands in one group."""

from __future__ import annotations

from otel_forge.cli import alerts, audit, log_level, logs, run, stack, watch
from otel_forge.cli.group import main

__all__ = ["main"]

run.add_to(main)
stack.add_to(main)
logs.add_to(main)
log_level.add_to(logs.logs)
audit.add_to(main)
alerts.add_to(main)
watch.add_to(main)
