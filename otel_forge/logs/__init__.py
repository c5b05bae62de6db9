"""Log records: from the logging module into telemetry."""
