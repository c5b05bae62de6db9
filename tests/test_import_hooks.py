"""Functions that wait for an import."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest

from otel_forge.import_hooks import when_imported


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module that can be imported, and is not yet."""
    name = f"library_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text("READY = True\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield name
    sys.modules.pop(name, None)


def test_a_module_that_is_there_is_told_of_at_once() -> None:
    told: list[ModuleType] = []
    when_imported("sys", told.append)
    assert told == [sys]


def test_a_module_is_told_of_once_it_has_been_executed(library: str) -> None:
    ready: list[bool] = []
    when_imported(library, lambda module: ready.append(module.READY))
    assert ready == []
    importlib.import_module(library)
    importlib.reload(sys.modules[library])
    assert ready == [True]


def test_all_who_wait_are_told_in_order(library: str) -> None:
    told: list[str] = []
    when_imported(library, lambda module: told.append("first"))
    when_imported(library, lambda module: told.append("second"))
    importlib.import_module(library)
    assert told == ["first", "second"]


def test_the_module_keeps_its_own_loader(library: str) -> None:
    """What reads sources through the loader, such as tracebacks and pytest, finds the one Python made."""
    when_imported(library, lambda module: None)
    module = importlib.import_module(library)
    assert type(module.__loader__).__name__ == "SourceFileLoader"
    assert module.__spec__ is not None
    assert module.__spec__.loader is module.__loader__


def test_looking_for_a_module_is_no_import(library: str) -> None:
    """`find_spec` answers as without us: sources can be read, and nobody is told."""
    told: list[ModuleType] = []
    when_imported(library, told.append)
    spec = find_spec(library)
    assert spec is not None
    assert spec.loader is not None
    assert spec.loader.get_source(library) == "READY = True\n"  # type: ignore[attr-defined]
    assert told == []
    importlib.import_module(library)
    assert len(told) == 1


def test_a_failing_import_fails_as_ever_and_a_later_one_is_told_of(library: str, tmp_path: Path) -> None:
    told: list[ModuleType] = []
    when_imported(library, told.append)
    source = tmp_path / f"{library}.py"
    source.write_text("raise RuntimeError('not today')\n")
    with pytest.raises(RuntimeError, match="not today"):
        importlib.import_module(library)
    assert told == []
    source.write_text("READY = 'at last, longer than before'\n")
    importlib.invalidate_caches()
    importlib.import_module(library)
    assert len(told) == 1


def test_a_module_that_does_not_exist_is_missing_as_ever() -> None:
    when_imported("no_such_module_at_all", lambda module: None)
    with pytest.raises(ModuleNotFoundError, match="no_such_module_at_all"):
        importlib.import_module("no_such_module_at_all")
