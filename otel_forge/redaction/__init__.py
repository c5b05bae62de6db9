"""What never leaves the process: one policy that every sink asks.

Spans, logs, metrics, files, Sentry: each asks the same `policy` about each text before it writes it. It is on
before anything is configured; ``docs/redaction.md`` has the classes, the defaults and the reasons for them.
"""

from __future__ import annotations

from otel_forge.redaction.current import add, install, install_from, is_chosen, policy
from otel_forge.redaction.policy import Policy, build_policy

__all__ = ["Policy", "add", "build_policy", "install", "install_from", "is_chosen", "policy"]
