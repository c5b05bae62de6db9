"""What a forked child must forget or renew, in one list.

``os.fork`` runs Python's own hooks; uWSGI forks its workers in C and runs only those given to its
``post_fork_hook``, so inside uWSGI the same list is hung there as well. When ``opentelemetry-instrument`` starts us,
uWSGI's module does not exist yet: then each import of the application looks for it, until it is there.
"""

from __future__ import annotations

import os
import sys
import weakref
from collections.abc import Callable
from importlib import import_module
from typing import Any

from otel_forge.guard import guard

_callbacks: list[Callable[[], Callable[[], object] | None]] = []
_registered = False
_last_run = 0


def on_fork_in_child(callback: Callable[[], object]) -> None:
    """Call `callback` in every forked child, in the order of registration; a method, as long as its object lives."""
    _register_once()
    _callbacks.append(weakref.WeakMethod(callback) if hasattr(callback, "__self__") else lambda: callback)


def run_in_child() -> None:
    """Run all callbacks, once in each process, though Python and uWSGI may both ask for it; none costs the others."""
    global _last_run
    if _last_run == os.getpid():
        return
    _last_run = os.getpid()
    for reference in list(_callbacks):
        callback = reference()
        if callback is None:
            _callbacks.remove(reference)
        else:
            with guard(f"beginning anew after a fork ({getattr(callback, '__qualname__', callback)})"):
                callback()


def _register_once() -> None:
    global _registered
    if _registered:
        return
    _registered = True
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=run_in_child)
    if not _register_with_uwsgi() and not sys.orig_argv:  # an interpreter inside another program
        sys.meta_path.insert(0, _UwsgiAwaited())


class _UwsgiAwaited:
    """Sees imports, finds nothing, and registers with uWSGI at the first one at which its module is there."""

    def __init__(self) -> None:
        self._pid = os.getpid()

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Register, or catch up in a worker that was forked before anything was imported (``--lazy-apps``)."""
        if "uwsgi" in sys.modules and self in sys.meta_path:
            sys.meta_path.remove(self)
            _register_with_uwsgi()
            if os.getpid() != self._pid:
                run_in_child()


def _register_with_uwsgi() -> bool:
    try:
        server: Any = import_module("uwsgi")  # exists only inside a uWSGI process
    except ImportError:
        return False
    earlier = getattr(server, "post_fork_hook", None)

    def hook() -> None:
        run_in_child()
        if earlier is not None:
            earlier()

    server.post_fork_hook = hook
    return True
