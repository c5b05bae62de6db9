"""The probes of a real uWSGI, whose workers are forked in C from a process that has loaded the application."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.health.build import wait_for
from tests.health.fleet import CHECKOUT
from tests.otlp_receiver import free_port
from tests.programs import Programs, get


@pytest.mark.parametrize("threads", ["--enable-threads", "--disable-logging"])
def test_uwsgi_lives_and_with_threads_it_becomes_ready(programs: Programs, servers_bin: Path, threads: str) -> None:
    """Without --enable-threads the checks hardly get a turn; liveness does not suffer for it."""
    url = f"127.0.0.1:{free_port()}"
    programs.start(
        str(servers_bin / "uwsgi"), "--http-socket", url, "--master", "--home", str(servers_bin.parent),
        "--die-on-term", "--need-app", "--processes", "2", "--wsgi", "tests.health.app:app", threads,
        PYTHONPATH=str(CHECKOUT),
    )  # fmt: skip
    wait_for(lambda: get(f"http://{url}/live")[0] == 200, 30)
    if threads == "--enable-threads":
        wait_for(lambda: get(f"http://{url}/ready")[0] == 200, 30)
