"""Scenes: services that run through one pipeline, and the requests that are sent to them, always the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from random import Random

from asset_forge.traffic import Request, asset_mix, httpbin_mix
from asset_forge.traffic.plan import Maker, with_json

from tests.equivalence.arrivals import Arrivals, arrivals
from tests.equivalence.callers import numbered
from tests.equivalence.services import Running, Service, gunicorn
from tests.otlp_receiver import OtlpReceiver
from tests.programs import Programs

EVERYDAY = 90
UPSTREAM_TIMEOUT_S = "2.5"  # twice in a run somebody waits as long; nobody else may, however busy the machine
Fault = tuple[str, Mapping[str, object], Sequence[Maker]]
FAULTS: tuple[Fault, ...] = (
    ("image-server", {"latency_ms": 30}, [asset_mix.thumbnail] * 2),
    ("ai-upstream", {"error_rate": 0.8, "status": 503}, [asset_mix.generate] * 6),
    ("image-server", {"error_rate": 0.5, "status": 500}, [asset_mix.thumbnail, asset_mix.generate] * 3),
    ("image-server", {"hang": True}, [asset_mix.thumbnail, asset_mix.generate]),
)


def asset_forge(pipeline: str, folder: Path) -> Arrivals:
    """Send every kind of everyday request to Asset Forge, then some under each fault of what is behind it."""
    images, ai, api = _asset_forge_services(folder)
    with OtlpReceiver() as receiver, Programs(folder) as programs:
        running = Running(pipeline, [images, ai, api], receiver, programs)
        everyday = [*_mixed([*asset_mix.EVERYDAY, (1, asset_mix.error)], EVERYDAY)]
        faulty = [maker(Random(number)) for _, _, makers in FAULTS for number, maker in enumerate(makers)]
        requests = numbered([*everyday, *faulty])
        running.send(api, islice(requests, EVERYDAY))
        for name, fault, makers in FAULTS:
            target = {"image-server": images, "ai-upstream": ai}[name]
            running.send(target, [with_json("PUT", "/faults", "/faults", fault)])
            running.send(api, islice(requests, len(makers)))
            running.send(target, [Request("DELETE", "/faults", "/faults")])
        return arrivals(running.stop(), running.ports())


def _asset_forge_services(folder: Path) -> tuple[Service, Service, Service]:
    threads = ("--worker-class", "gthread", "--threads", "8")
    images = Service("image-server", gunicorn("asset_forge.image_server:application()", *threads), "/health")
    ai = Service("ai-upstream", gunicorn("asset_forge.ai_upstream:application()", *threads), "/health")
    ai.environ["AI_LATENCY_MS"] = "1"
    images.environ["OTEL_PYTHON_FLASK_EXCLUDED_URLS"] = "health"  # the API's health check asks when it likes
    api = Service("asset-forge", gunicorn("asset_forge.wsgi:app", *threads), "/")
    api.environ.update(
        ASSET_FORGE_DATA_DIR=str(folder),
        IMAGE_SERVER_URL=images.url,
        AI_UPSTREAM_URL=ai.url,
        IMAGE_SERVER_TIMEOUT_S=UPSTREAM_TIMEOUT_S,
        AI_UPSTREAM_TIMEOUT_S=UPSTREAM_TIMEOUT_S,
        MESHY_API_KEY="placeholder",
        OPENAI_API_KEY="placeholder",
        OTEL_FORGE_ALERTS="false",
    )
    return images, ai, api


def httpbin(pipeline: str, folder: Path) -> Arrivals:
    """Send every kind of request of its mix to httpbin, under Flask's own server."""
    command = ("flask", "--app", "httpbin", "run", "--port", "{port}")
    service = Service("httpbin", command, "/get")
    with OtlpReceiver() as receiver, Programs(folder) as programs:
        running = Running(pipeline, [service], receiver, programs)
        running.send(service, numbered(_mixed([*httpbin_mix.EVERYDAY, *httpbin_mix.READERS], EVERYDAY)))
        return arrivals(running.stop(), running.ports())


def _mixed(mix: Sequence[tuple[int, Maker]], count: int) -> Iterator[Request]:
    """Yield `count` requests: one of each kind of `mix`, then kinds by their weight."""
    makers, weights = [maker for _, maker in mix], [weight for weight, _ in mix]
    for number in range(count):
        chance = Random(number)
        maker = makers[number] if number < len(makers) else chance.choices(makers, weights)[0]
        yield maker(chance)


SCENES: dict[str, Callable[[str, Path], Arrivals]] = {"asset_forge": asset_forge, "httpbin": httpbin}
