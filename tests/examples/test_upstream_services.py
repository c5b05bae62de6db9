"""The image server and the AI upstream, and the faults that both can have."""

from __future__ import annotations

import struct
import threading
import time
import zlib
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
from asset_forge import ai_upstream, faults, image_server
from asset_forge.faults import Faults, FaultSwitch, InvalidFaults
from asset_forge.seed import KINDS
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st

from tests.examples.conftest import json_of

BEARER = {"Authorization": "Bearer a-key"}


@pytest.fixture(params=["image server", "AI upstream"])
def service(request: pytest.FixtureRequest) -> FlaskClient:
    """Each of the two services, without faults."""
    makers = {"image server": image_server.create_app, "AI upstream": ai_upstream.create_app}
    return makers[request.param](FaultSwitch(Faults())).test_client()


@given(name=st.text(max_size=80), kind=st.sampled_from([*KINDS, "cloud"]))
def test_every_name_is_drawn_as_a_valid_png(name: str, kind: str) -> None:
    """The chunks have right lengths and checksums, and the picture has as many bytes as its header says."""
    png = image_server.draw(name, kind)
    assert png == image_server.draw(name, kind)
    chunks, at = {}, 8
    while at < len(png):
        (length,) = struct.unpack_from(">I", png, at)
        kind_and_data = png[at + 4 : at + 8 + length]
        assert struct.unpack_from(">I", png, at + 8 + length) == (zlib.crc32(kind_and_data),)
        chunks[kind_and_data[:4]] = kind_and_data[4:]
        at += 12 + length
    width, height, depth, colour = struct.unpack_from(">IIBB", chunks[b"IHDR"])
    assert (width, height, depth, colour) == (160, 120, 8, 2)
    assert len(zlib.decompress(chunks[b"IDAT"])) == height * (1 + 3 * width)
    assert list(chunks) == [b"IHDR", b"IDAT", b"IEND"]


def test_the_image_server_refuses_a_body_without_a_name() -> None:
    """No name, no picture: 400."""
    client = image_server.create_app(FaultSwitch(Faults())).test_client()
    assert client.post("/render", json={"name": "Box", "kind": "prop"}).mimetype == "image/png"
    bad: tuple[object, ...] = ({}, {"name": ""}, {"name": 3}, [])
    for body in bad:
        assert client.post("/render", json=body).status_code == 400


def test_the_ai_upstream_wants_a_key_and_a_prompt() -> None:
    """401 without a bearer token, 400 without a prompt, else a description that depends on the prompt only."""
    client = ai_upstream.create_app(FaultSwitch(Faults()), latency_ms=0).test_client()
    path = "/v1/models/describe"
    assert client.post(path, json={"prompt": "a lamp"}).status_code == 401
    assert client.post(path, json={"prompt": " "}, headers=BEARER).status_code == 400
    answers = [json_of(client.post(path, json={"prompt": "a lamp"}, headers=BEARER)) for _ in range(2)]
    assert answers[0] == answers[1]
    assert answers[0]["kind"] in KINDS


def test_faults_are_switched_on_and_off_while_a_service_runs(service: FlaskClient) -> None:
    """PUT sets them, GET shows them, DELETE clears them; the work routes suffer in between."""
    assert service.get("/health").status_code == 200
    wanted = {"latency_ms": 0, "error_rate": 1.0, "hang": False, "status": 503, "seed": 3}
    assert service.put("/faults", json=wanted).json == wanted
    assert service.get("/health").status_code == 503
    assert service.get("/faults").json == wanted
    assert service.delete("/faults").json == asdict(Faults())
    assert service.get("/health").status_code == 200


def test_faults_obey_this_machine_only(service: FlaskClient) -> None:
    """A caller from elsewhere can neither set nor see faults."""
    elsewhere = {"REMOTE_ADDR": "192.0.2.7"}
    for call in (service.get, service.put, service.delete):
        assert call("/faults", json={"hang": True}, environ_base=elsewhere).status_code == 403
    assert json_of(service.get("/faults", environ_base={"REMOTE_ADDR": "::1"}))["hang"] is False


@pytest.mark.parametrize(
    "body",
    [
        [],
        {"error_rate": 2},
        {"error_rate": "1"},
        {"latency_ms": -1},
        {"latency_ms": 0.5},
        {"latency_ms": 30_001},
        {"hang": 1},
        {"status": 200},
        {"seed": "x"},
        {"delay": 1},
    ],
)
def test_bad_faults_are_refused_and_change_nothing(service: FlaskClient, body: object) -> None:
    """A bad value or an unknown name is 400, and the faults stay as they were."""
    assert service.put("/faults", json=body).status_code == 400
    assert service.get("/faults").json == asdict(Faults())


def test_the_same_seed_fails_the_same_requests() -> None:
    """Which answers are errors depends on the seed, and setting faults starts over."""
    draws = []
    for seed in (5, 5, 6):
        switch = FaultSwitch(Faults(error_rate=0.5, seed=seed))
        draws.append([switch.draw() for _ in range(50)])
        switch.set(Faults(error_rate=0.5, seed=seed))
        assert [switch.draw() for _ in range(50)] == draws[-1]
    assert draws[0] == draws[1] != draws[2]


def test_workers_share_their_faults_through_a_file(tmp_path: Path) -> None:
    """What one process sets, the other suffers at once; a damaged file means no faults."""
    file = tmp_path / "faults" / "switch.json"
    one, other = FaultSwitch(Faults(latency_ms=5), file), FaultSwitch(Faults(), file)
    assert other.get() == Faults(latency_ms=5)
    other.set(Faults(error_rate=1.0))
    assert one.get() == Faults(error_rate=1.0)
    assert one.draw()
    file.write_text("{")
    assert one.get() == Faults()
    assert other.get() == Faults()


def test_faults_at_start_come_from_the_environment(tmp_path: Path) -> None:
    """FAULTS is the same JSON as the control route takes; a bad one is named."""
    app = image_server.from_env({"FAULTS": '{"error_rate": 1, "status": 418}', "FAULTS_FILE": str(tmp_path / "f")})
    assert app.test_client().get("/health").status_code == 418
    with pytest.raises(InvalidFaults, match="FAULTS='{'"):
        Faults.from_env({"FAULTS": "{"})


def test_the_image_server_lives_whatever_its_faults() -> None:
    """Its liveness is answered in front of the application: a service that answers with errors is not dead."""
    client = image_server.create_app(FaultSwitch(Faults(error_rate=1.0, hang=True))).test_client()
    assert (client.get("/live").status_code, json_of(client.get("/live"))) == (200, {"status": "pass"})


def test_latency_is_added(service: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer comes after the latency."""
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    service.put("/faults", json={"latency_ms": 700})
    assert service.get("/health").status_code == 200
    assert waits == [0.7]


def test_a_hanging_service_answers_when_the_fault_is_cleared() -> None:
    """Requests wait, the control route does not, and a crowd beyond the limit is turned away at once."""
    switch = FaultSwitch(Faults())
    app = image_server.create_app(switch)
    client = app.test_client()
    client.put("/faults", json={"hang": True})
    statuses: list[int] = []
    crowd = [threading.Thread(target=_ask, args=(app, statuses)) for _ in range(faults.MAX_HANGING + 3)]
    for thread in crowd:
        thread.start()
    _until(lambda: len(statuses) == 3)
    assert statuses == [503] * 3
    client.delete("/faults")
    for thread in crowd:
        thread.join(10)
    assert sorted(statuses) == [200] * faults.MAX_HANGING + [503] * 3


def _ask(app: Flask, statuses: list[int]) -> None:
    statuses.append(app.test_client().get("/health").status_code)


def _until(condition: Callable[[], bool]) -> None:
    deadline = threading.Event()
    for _ in range(500):
        if condition():
            return
        deadline.wait(0.02)
    pytest.fail("the condition did not come true in 10 s")
