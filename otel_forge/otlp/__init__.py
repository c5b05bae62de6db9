"""OTLP: the exporters that carry records to the back end."""
