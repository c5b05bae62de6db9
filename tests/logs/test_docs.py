"""docs/logging.md: its examples run, and print what the page says."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.programs import Programs

PAGE = (Path(__file__).parents[2] / "docs/logging.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", PAGE, re.S)


def test_every_example_has_its_output() -> None:
    """So that all of them are run below."""
    assert len(EXAMPLES) == PAGE.count("```python") == 5


@pytest.mark.parametrize(("code", "printed"), EXAMPLES)
def test_an_example_prints_what_the_page_says(programs: Programs, code: str, printed: str) -> None:
    """Apart from the time of the day and the folder."""
    script = programs.write("app.py", code)
    program = programs.start(sys.executable, str(script), OTEL_SERVICE_NAME="docs")
    assert program.wait() == 0, program.err
    text = (program.out + program.err).replace(f"{programs.folder}/", "")
    assert re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "2026-01-02T03:04:05.678901Z", text) == printed
