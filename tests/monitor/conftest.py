"""What the monitor's tests share."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future

import pytest

from tests.monitor.at_once import Body, begun


@pytest.fixture(scope="module")
def outcomes(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[Body, Future[None]]]:
    """What becomes of the tests of a module that run at the same time."""
    with begun(request, tmp_path_factory) as futures:
        yield futures
