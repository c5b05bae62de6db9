"""Every variable that a shipped configuration reads is in the table of backends/README.md, with its true default."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

READS = re.compile(r"\$\{(?:env:)?([A-Z][A-Z0-9_]*)(?::?[-?]([^}]*))?\}")
ROW = re.compile(r"^\| `([A-Z][A-Z0-9_]*)` \| (?:`([^`]*)`|none) \|", re.MULTILINE)


def configurations(bundle: Path) -> list[Path]:
    """Return every file that expands variables."""
    patterns = ("collector/config-*.yaml", "backends/loki/*.yaml", "backends/tempo/*.yaml", "docker-compose.yml")
    return [path for pattern in patterns for path in sorted(bundle.glob(pattern))]


@pytest.fixture(scope="module")
def read(bundle: Path) -> dict[str, set[str]]:
    """The defaults that the configurations give to each variable."""
    found: dict[str, set[str]] = {}
    for path in configurations(bundle):
        for name, default in READS.findall(path.read_text()):
            found.setdefault(name, set()).add(default)
    return found


@pytest.fixture(scope="module")
def table(bundle: Path) -> dict[str, str]:
    """The documented variables and defaults."""
    return dict(ROW.findall((bundle / "backends/README.md").read_text()))


def test_what_is_read_is_documented_and_the_other_way_round(read: dict[str, set[str]], table: dict[str, str]) -> None:
    """An undocumented variable helps nobody; a documented one that nothing reads misleads."""
    assert set(read) == set(table)


def test_defaults_are_the_documented_ones(read: dict[str, set[str]], table: dict[str, str]) -> None:
    """One variable has one default, everywhere."""
    required = {"OTEL_FORGE_STATE_DIR"}
    assert {name: defaults for name, defaults in read.items() if name not in required} == {
        name: {default} for name, default in table.items() if name not in required
    }


def test_every_variable_has_a_default_but_the_one_that_holds_the_password(bundle: Path) -> None:
    """A configuration started by hand, with no environment, is the native loopback one."""
    bare = {
        (path.name, name)
        for path in configurations(bundle)
        for name in re.findall(r"\$\{(?:env:)?([A-Z][A-Z0-9_]*)\}", path.read_text())
    }
    assert bare == set()
