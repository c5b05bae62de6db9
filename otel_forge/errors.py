"""The exceptions of otel-forge, one tree.

ForgeError
 ├── SettingsError          a setting has a value that cannot be used
 ├── MetricError            a metric is declared with a name, unit or kind that cannot be used
 └── StackError             the back end (``otel-forge up``) cannot do what was asked
      ├── EngineUnavailable a binary can neither be found nor built
      └── PortTaken         an address that a component needs is held by somebody else
"""

from __future__ import annotations


class ForgeError(Exception):
    """The root of every error that otel-forge raises on purpose."""


class SettingsError(ForgeError):
    """A setting has a value that cannot be used; the message names variable, value and what is allowed."""


class MetricError(ForgeError, ValueError):
    """A metric is declared with something that cannot be used; the message says with what, and what is allowed.

    `reason` is one word for it: name, unit, kind, or names for too many of them.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class StackError(ForgeError):
    """The back end cannot do what was asked of it."""


class EngineUnavailable(StackError):
    """A binary can neither be found, taken from the cache nor built; the message says what to install."""


class PortTaken(StackError):
    """An address that a component needs is held by somebody else; the message names port, holder and setting."""
