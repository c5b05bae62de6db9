"""otel-forge: one install that makes a Python web service observable.

``pip install otel-forge`` and ``opentelemetry-instrument python app.py`` are all that an application needs;
``otel-forge up`` starts a place to look at what it sends.
"""

from otel_forge.version import VERSION as __version__

__all__ = ["__version__"]
