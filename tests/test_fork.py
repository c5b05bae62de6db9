"""What runs in a forked child: every callback whose object lives, once."""

from __future__ import annotations

import importlib.util
import os
import sys
from types import ModuleType
from typing import Any

import pytest

from otel_forge import fork, guard


class Counter:
    """Counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def call(self) -> None:
        self.calls += 1


def in_child(check: Any) -> bool:
    child = os.fork()
    if child == 0:
        os._exit(0 if check() else 1)
    return os.waitpid(child, 0)[1] == 0


def test_callbacks_run_once_in_each_child_and_never_in_the_parent() -> None:
    """Even if uWSGI's hook runs them as well."""
    counter = Counter()
    fork.on_fork_in_child(counter.call)

    def once() -> bool:
        fork.run_in_child()
        return counter.calls == 1 and in_child(lambda: counter.calls == 2)

    assert in_child(once)
    assert counter.calls == 0


def test_an_object_that_is_gone_is_not_kept_for_its_callback() -> None:
    """Callbacks are held weakly."""
    counter = Counter()
    fork.on_fork_in_child(counter.call)
    before = len(fork._callbacks)
    del counter
    assert in_child(lambda: len(fork._callbacks) < before)


def test_a_callback_that_fails_costs_no_other(capfd: pytest.CaptureFixture[str]) -> None:
    """It is said, and what comes after it is called."""

    class Failing(Counter):
        def call(self) -> None:
            raise RuntimeError("no")

    failing, counter = Failing(), Counter()
    fork.on_fork_in_child(failing.call)
    fork.on_fork_in_child(counter.call)

    def survived() -> bool:
        guard.set_strict(False)
        fork._last_run, counter.calls = 0, 0
        fork.run_in_child()
        return counter.calls == 1

    assert in_child(survived)
    assert "Failing.call) failed" in capfd.readouterr().err


def test_a_plain_function_is_kept() -> None:
    """Of a module, which lives as long as the process."""
    called: list[int] = []
    fork.on_fork_in_child(lambda: called.append(1))
    assert in_child(lambda: called == [1])


def test_uwsgi_gets_the_same_callbacks_beside_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its hook of before is still called."""
    called: list[str] = []
    uwsgi: Any = ModuleType("uwsgi")
    uwsgi.post_fork_hook = lambda: called.append("earlier")
    monkeypatch.setitem(sys.modules, "uwsgi", uwsgi)
    monkeypatch.setattr(fork, "run_in_child", lambda: called.append("ours"))
    fork._register_with_uwsgi()
    uwsgi.post_fork_hook()
    assert called == ["ours", "earlier"]


def test_uwsgi_is_found_when_its_module_comes_after_us(monkeypatch: pytest.MonkeyPatch) -> None:
    """Started by opentelemetry-instrument we are there first; the next import of whatever finds it."""
    awaited = fork._UwsgiAwaited()
    monkeypatch.setattr(sys, "meta_path", [awaited, *sys.meta_path])
    called: list[str] = []
    monkeypatch.setattr(fork, "run_in_child", lambda: called.append("ours"))
    importlib.util.find_spec("no_such_module")
    uwsgi: Any = ModuleType("uwsgi")
    monkeypatch.setitem(sys.modules, "uwsgi", uwsgi)
    importlib.util.find_spec("no_such_module")
    assert awaited not in sys.meta_path
    assert called == []
    uwsgi.post_fork_hook()
    assert called == ["ours"]


def test_a_worker_that_was_forked_before_anything_was_imported_catches_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """With lazy-apps the application is imported in the worker, when the hook would come too late."""
    awaited = fork._UwsgiAwaited()
    monkeypatch.setattr(sys, "meta_path", [awaited, *sys.meta_path])
    monkeypatch.setitem(sys.modules, "uwsgi", ModuleType("uwsgi"))
    counter = Counter()
    fork.on_fork_in_child(counter.call)

    def caught_up() -> bool:
        fork._last_run = 0  # os.fork ran the callbacks; uWSGI's own fork would not have
        importlib.util.find_spec("no_such_module")
        return counter.calls == 2

    assert in_child(caught_up)
