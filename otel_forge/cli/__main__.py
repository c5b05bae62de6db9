"""`python -m otel_forge.cli`, for where the command itself is not on PATH."""

from otel_forge.cli import main

main()
