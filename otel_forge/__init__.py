"""otel-forge: one install that makes a Python web service observable.

``pip install otel-forge`` and ``opentelemetry-instrument python app.py`` are all that an application needs;
``otel-forge up`` starts a place to look at what it sends.
"""

from __future__ import annotations

from otel_forge.version import VERSION as __version__

TYPE_CHECKING = False  # typing itself would be imported with every `otel-forge run`
if TYPE_CHECKING:
    from collections.abc import Mapping

    from otel_forge.delivery.accounts import Account

__all__ = ["__version__", "accounts"]


def accounts() -> Mapping[str, Account]:
    """Return what became of this process's telemetry: an account for each of traces, metrics and logs.

    ``accounts()["traces"]`` tells how many spans were `created`, `delivered`, are `held` (`waiting`, `in_memory`,
    `on_disk`) and were `dropped`, by reason, and the same `in_bytes`. All are zero where telemetry is not on.
    """
    from otel_forge.telemetry import current_accounts  # brings the SDK, of which no import of ours has need

    return {signal: account for signal, account in current_accounts().read().items()}  # noqa: C416 - typed as text
