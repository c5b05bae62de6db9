"""The environment that the servers run in."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.processes.servers import bin_of_servers


@pytest.fixture(scope="session")
def servers_bin() -> Path:
    """The folder with gunicorn (gevent included), uwsgi and celery."""
    return bin_of_servers()
