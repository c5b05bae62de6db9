"""How many secrets were kept from leaving, as a metric: ``otel_forge.redacted`` by class."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from otel_forge import redaction

if TYPE_CHECKING:
    from opentelemetry.metrics import Observation

NAME = "otel_forge.redacted"
CLASS = "class"


def count_redactions(meter_provider: Any) -> None:
    """Observe the counts of this process's policy; nothing is sent until something was redacted."""
    meter_provider.get_meter("otel_forge.redaction").create_observable_counter(
        NAME, [_observed], "{value}", "Values that the redaction policy replaced, by class of secret."
    )


def _observed(_options: object) -> Iterable[Observation]:
    from opentelemetry.metrics import Observation

    return [Observation(count, {CLASS: kind}) for kind, count in redaction.policy().counts.items()]
