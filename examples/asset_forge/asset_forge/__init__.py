"""Asset Forge: a small asset service that shows what otel-forge sees, without one line of telemetry code."""
