"""The probes of real gunicorn workers of each kind, with a database and an image server that never answer."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.health.build import wait_for
from tests.health.fleet import Instance
from tests.health.holes import BlackHole
from tests.programs import Programs, get

KINDS = ("sync", "gthread", "gevent")
QUICK = {
    "OTEL_FORGE_HEALTH_INTERVAL": "0.2",
    "OTEL_FORGE_HEALTH_TIMEOUT": "0.3",
    "OTEL_FORGE_HEALTH_FALL": "1",
    "OTEL_FORGE_HEALTH_RISE": "1",
}


@pytest.fixture
def serve(programs: Programs, servers_bin: Path) -> Iterator[Callable[..., Instance]]:
    """Starts a server of a kind of worker, with options."""

    def start(kind: str, *options: str, **environ: str) -> Instance:
        instance = Instance(programs, kind, bin_folder=servers_bin, options=options, environ={**QUICK, **environ})
        instance.start()
        return instance

    yield start


def told(instance: Instance, path: str) -> Any:
    return json.loads(get(f"{instance.url}{path}")[1])


@pytest.mark.gate
@pytest.mark.parametrize("kind", KINDS)
def test_with_every_dependency_black_holed_it_lives_and_is_not_ready(
    serve: Callable[..., Instance], black_hole: BlackHole, kind: str
) -> None:
    """H1: liveness touches none of them, readiness is 503 and says why, the report is the handbook's."""
    instance = serve(kind, BLACK_HOLE=str(black_hole.port))
    expected = {"database": "fail", "imageServer": "fail", "loop": "pass", "second_loop": "pass"}
    wait_for(lambda: told(instance, "/ready") == {"status": "fail", "checks": expected})
    assert [get(f"{instance.url}{path}")[0] for path in ("/live", "/ready", "/startup", "/api/health")] == [
        200,
        503,
        503,
        503,
    ]
    report = told(instance, "/api/health")
    assert report["status"] == "degraded"
    assert report["services"] == {"database": False, "imageServer": False, "loop": True, "second_loop": True}
    assert told(instance, "/threads")["ours"] <= 4 + 1
    assert black_hole.connections == 2, "each hangs, so each is called once"


@pytest.mark.parametrize("kind", KINDS)
def test_a_worker_is_ready_by_itself_before_anybody_asks(serve: Callable[..., Instance], kind: str) -> None:
    """With and without preloading the checks begin when the worker has loaded the application, and in it."""
    for options in ((), ("--preload",)):
        instance = serve(kind, *options)
        instance.wait_until_it_said("checked in ")
        assert get(f"{instance.url}/ready")[0] == 200
        assert f"checked in {get(f'{instance.url}/work')[1]}" in instance.said
        instance.end()


def test_a_reload_takes_nothing_out(serve: Callable[..., Instance]) -> None:
    """SIGHUP replaces the workers while the master listens: readiness never falls for it, though a drain is set."""
    instance = serve("sync", "--workers=2", OTEL_FORGE_HEALTH_DRAIN="5")
    wait_for(lambda: get(f"{instance.url}/ready")[0] == 200)
    before = {get(f"{instance.url}/work")[1] for _ in range(20)}
    instance.signal(signal.SIGHUP)
    seen: set[str] = set()

    def is_replaced() -> bool:
        told_now = told(instance, "/ready")
        assert told_now.get("reason") != "draining"
        seen.add(get(f"{instance.url}/work")[1])
        return len(seen - before) == 2

    wait_for(is_replaced, 30)
    instance.signal(signal.SIGQUIT)  # without a drain
