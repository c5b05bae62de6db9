"""The version of otel-forge: the one place for it."""

VERSION = "0.1.0"
