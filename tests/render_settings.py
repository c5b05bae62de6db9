"""Writes the table of docs/settings.md again from the source: ``python -m tests.render_settings``."""

from __future__ import annotations

from pathlib import Path

from otel_forge.variables import table

PAGE = Path(__file__).parent.parent / "docs/settings.md"


def main() -> None:
    """Replace the rows of the table and keep the text above it."""
    head = PAGE.read_text().split("|---|---|---|\n")[0]
    rows = "".join(f"| `{name}` | {default} | {meaning} |\n" for name, default, meaning in table())
    PAGE.write_text(f"{head}|---|---|---|\n{rows}")


if __name__ == "__main__":
    main()
