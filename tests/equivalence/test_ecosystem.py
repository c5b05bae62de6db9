"""Instrumentations of other libraries record the same with the lean tracer as with upstream's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.equivalence.packages import ecosystem
from tests.programs import clean_environ

ROOT = Path(__file__).parents[2]
SPANS = {
    "sqlalchemy_statements": 7,
    "httpx_requests": 4,
    "httpx_asynchronous": 3,
    "urllib3_requests": 4,
    "urllib3_not_sampled": 0,
    "jinja2_templates": 9,
    "threads": 3,
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Any, Any]]:
    """What was seen of each case through upstream and through ours."""
    path = tmp_path_factory.mktemp("ecosystem") / "seen.json"
    done = subprocess.run(
        [sys.executable, "-m", "tests.equivalence.ecosystem", str(path)],
        cwd=ROOT,
        env={**clean_environ(), "PYTHONPATH": os.pathsep.join([str(ROOT), str(ecosystem())])},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    seen: dict[str, tuple[Any, Any]] = json.loads(path.read_text())
    return seen


@pytest.mark.parametrize("name", SPANS)
def test_spans_and_headers_are_equal(results: dict[str, tuple[Any, Any]], name: str) -> None:
    """Names, ids, parents, attributes, events, status, scope and what is sent to the other side."""
    upstream, lean = results[name]
    assert lean == upstream
    assert len(lean[0]) == SPANS[name]
