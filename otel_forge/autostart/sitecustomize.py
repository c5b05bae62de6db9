"""Turns telemetry on when Python starts: ``otel-forge run`` puts this folder first on PYTHONPATH.

Python imports one `sitecustomize` only, so the one that this hides is run first, as if it had been found.
"""

from __future__ import annotations

import os
import sys

_FOLDER = os.path.dirname(os.path.abspath(__file__))


def _run_hidden() -> None:
    from importlib.machinery import PathFinder
    from importlib.util import module_from_spec

    spec = PathFinder.find_spec("sitecustomize", [path for path in sys.path if os.path.abspath(path) != _FOLDER])
    if spec is None or spec.loader is None:
        return
    hidden = sys.modules["sitecustomize"] = module_from_spec(spec)
    spec.loader.exec_module(hidden)


def _start() -> None:
    try:
        from otel_forge.activation import start
    except ImportError as error:  # another Python than the one that otel-forge is installed for
        sys.stderr.write(f"otel-forge: no telemetry from {sys.executable}, which cannot import otel_forge ({error}).\n")
    else:
        start(_FOLDER)


try:
    _run_hidden()
finally:
    _start()
