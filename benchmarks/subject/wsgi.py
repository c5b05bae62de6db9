"""The app as gunicorn loads it."""

from __future__ import annotations

from benchmarks.subject.vendors import set_up

set_up()

from benchmarks.subject.app import create_app  # noqa: E402 - some products must be set up before Flask is imported

app = create_app()
