"""The restart monitor, ``otel-forge watch``: starts an application, looks after it, restarts it on evidence alone.

Pure decisions stand in `judging` (what is evidence), `rationing` (how often) and `thresholds` (when to warn); the rest
does what they say. ``docs/watch.md`` has the whole story.
"""
