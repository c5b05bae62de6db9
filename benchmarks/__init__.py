"""What telemetry costs: every variant measured side by side, in interleaved rounds of one run.

``python -m benchmarks quick`` and ``make bench`` are the ways in. `benchmarks.subject` is what runs inside each
variant's own environment and imports nothing of the harness; all other modules are the harness.
"""
