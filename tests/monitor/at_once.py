"""Tests that mostly wait for other programs, run at the same time: each still has its own folder, name and verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.programs import Programs

Body = Callable[[Programs], None]
_AT_MOST = 4
"""More would keep a machine with two cores so busy that programs that should do something in time do not."""


def at_once(body: Body) -> Callable[[dict[Body, Future[None]]], None]:
    """Make a test of `body`, which runs beside the others of its module; they begin when the first is asked for."""

    def test(outcomes: dict[Body, Future[None]]) -> None:
        outcomes[body].result()

    test.__name__, test.__qualname__, test.__doc__ = body.__name__, body.__qualname__, body.__doc__
    test.__module__ = body.__module__
    test.body = body  # type: ignore[attr-defined]
    return test


@contextmanager
def begun(request: pytest.FixtureRequest, folders: pytest.TempPathFactory) -> Iterator[dict[Body, Future[None]]]:
    """Begin all that were chosen from the module of the request."""
    chosen = [item for item in request.session.items if isinstance(item, pytest.Function)]
    bodies = [item.function.body for item in chosen if item.module is request.module and hasattr(item.function, "body")]
    with ThreadPoolExecutor(_AT_MOST) as pool:
        yield {body: pool.submit(_run, body, folders.mktemp(body.__name__[:40])) for body in bodies}
        pool.shutdown(cancel_futures=True)


def _run(body: Body, folder: Path) -> None:
    with Programs(folder) as programs:
        body(programs)
