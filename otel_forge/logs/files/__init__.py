"""Daily log files: one for each service, written by all of its processes, rotated, packed, bounded, and read again.

`handler.build` makes the logging handler; `sink` appends, `upkeep` packs and removes, `reading` and `following`
are what `otel-forge logs` is made of. Nothing is imported here: an application without LOG_DIR pays nothing.
"""
