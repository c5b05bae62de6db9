"""Every endpoint of the asset API, with good and bad requests."""

from __future__ import annotations

import csv
import json
import logging
import re
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import replace

import pytest
from asset_forge.api import InventoryMismatch
from asset_forge.faults import Faults, FaultSwitch
from asset_forge.seed import SEED_ASSETS
from asset_forge.settings import ApiSettings
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import event
from werkzeug.test import TestResponse

from tests.examples.conftest import free_ports, json_of, parts_of, until

NOBODY = 404_404


def test_the_page_lists_assets_and_asks_no_other_host(client: FlaskClient) -> None:
    """The page is HTML with the first assets, and every address in it is our own."""
    answer = client.get("/")
    assert answer.status_code == 200
    assert answer.mimetype == "text/html"
    assert "Harbour crane" in answer.text
    assert "24 assets, page 1 of 2" in answer.text
    assert not re.search(r"https?://", answer.text)
    with client.get("/static/style.css") as style:
        assert style.status_code == 200


def test_the_page_escapes_what_users_wrote(client: FlaskClient) -> None:
    """A name with markup in it is shown as text."""
    client.post("/api/assets", json={"name": "<script>alert(1)</script>", "kind": "prop"})
    text = client.get("/?page=3").text
    assert "&lt;script&gt;" in text
    assert "<script>" not in text


def test_the_list_has_pages(client: FlaskClient) -> None:
    """Pages follow each other, and one past the end is empty."""
    first = client.get("/api/assets?size=10").json
    third = client.get("/api/assets?size=10&page=3").json
    beyond = client.get("/api/assets?size=10&page=4").json
    assert first is not None and third is not None and beyond is not None
    assert [asset["id"] for asset in first["assets"]] == list(range(1, 11))
    assert [asset["id"] for asset in third["assets"]] == [21, 22, 23, 24]
    assert (beyond["assets"], beyond["total"]) == ([], len(SEED_ASSETS))


@pytest.mark.parametrize(
    "query", ["page=0", "page=-1", "page=two", "size=0", "size=101", "page=²", "size=" + "9" * 5000]
)
def test_a_bad_page_names_the_parameter(client: FlaskClient, query: str) -> None:
    """A page or size that cannot be is refused, by name."""
    answer = client.get(f"/api/assets?{query}")
    assert answer.status_code == 400
    assert list(json_of(answer)["fields"]) == [query.split("=")[0]]


def test_one_asset_costs_one_query_and_one_log_line(client: FlaskClient, caplog: pytest.LogCaptureFixture) -> None:
    """The endpoint does exactly what it says; health checks ask the database on threads of their own."""
    statements: list[str] = []

    def note(*call: object) -> None:
        if threading.current_thread() is threading.main_thread():
            statements.append(str(call[2]))

    event.listen(parts_of(client.application).store.engine, "before_cursor_execute", note)
    with caplog.at_level(logging.INFO, logger="asset_forge"):
        answer = client.get("/api/assets/3")
    assert answer.json == {
        "id": 3,
        "name": "Copper kettle",
        "kind": "prop",
        "polygons": 3100,
        "description": "Copper kettle: a prop of 3100 polygons from the first collection.",
        "source": "seed",
        "hasThumbnail": False,
        "createdAt": "2026-01-08T09:00:00Z",
    }
    assert len(statements) == 1
    assert statements[0].startswith("SELECT")
    assert [record.getMessage() for record in caplog.records if record.name == "asset_forge.api"] == ["asset 3 found"]


def test_a_missing_asset_is_404_in_json(client: FlaskClient) -> None:
    """An id that nobody has is said to be missing, on each route that takes one."""
    for answer in (
        client.get(f"/api/assets/{NOBODY}"),
        client.get(f"/api/assets/{NOBODY}/thumbnail"),
        client.post(f"/api/assets/{NOBODY}/thumbnail"),
    ):
        assert answer.status_code == 404
        assert str(NOBODY) in json_of(answer)["error"]


def test_search_finds_text_whatever_its_case(client: FlaskClient) -> None:
    """Search looks into names and descriptions."""
    assert [asset["name"] for asset in json_of(client.get("/api/assets/search?q=BRASS"))["assets"]] == ["Brass compass"]


def test_search_takes_wildcards_as_text(client: FlaskClient) -> None:
    """A percent sign in a search is a percent sign, no wildcard."""
    assert json_of(client.get("/api/assets/search?q=%25"))["assets"] == []


@pytest.mark.parametrize("query", ["", "?q=", "?q=%20", "?q=" + "x" * 65])
def test_a_bad_search_is_400(client: FlaskClient, query: str) -> None:
    """No text or too much text to search for is refused."""
    answer = client.get(f"/api/assets/search{query}")
    assert (answer.status_code, list(json_of(answer)["fields"])) == (400, ["q"])


def test_a_created_asset_can_be_read_back(client: FlaskClient) -> None:
    """Creating answers 201 with the place of the new asset."""
    made = client.post("/api/assets", json={"name": " Rope ", "kind": "prop", "polygons": 12, "description": "Long."})
    assert made.status_code == 201
    assert json_of(made)["name"] == "Rope"
    assert client.get(made.headers["Location"]).json == made.json


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ([], {"body"}),
        ({}, {"name", "kind"}),
        ({"name": "", "kind": "prop"}, {"name"}),
        ({"name": "x" * 81, "kind": "prop"}, {"name"}),
        ({"name": 7, "kind": "prop"}, {"name"}),
        ({"name": "\ud800", "kind": "prop"}, {"name"}),
        ({"name": "Box", "kind": "cloud"}, {"kind"}),
        ({"name": "Box", "kind": ["prop"]}, {"kind"}),
        ({"name": "Box", "kind": "prop", "polygons": -1}, {"polygons"}),
        ({"name": "Box", "kind": "prop", "polygons": True}, {"polygons"}),
        ({"name": "Box", "kind": "prop", "polygons": 1.5}, {"polygons"}),
        ({"name": "Box", "kind": "prop", "description": "x" * 501}, {"description"}),
        (
            {"name": None, "kind": None, "polygons": None, "description": None},
            {"name", "kind", "polygons", "description"},
        ),
    ],
)
def test_a_bad_asset_is_refused_field_by_field(client: FlaskClient, body: object, fields: set[str]) -> None:
    """Every bad field of a new asset is named, and nothing is stored."""
    answer = client.post("/api/assets", json=body)
    assert answer.status_code == 400
    assert set(json_of(answer)["fields"]) == fields
    assert json_of(client.get("/api/assets"))["total"] == len(SEED_ASSETS)


@pytest.mark.parametrize("path", ["/api/assets", "/api/generate"])
@pytest.mark.parametrize(
    ("data", "kind"), [(b"{", "application/json"), (b"a=b", "text/plain"), (b"", "application/json")]
)
def test_a_body_that_is_no_json_is_400(client: FlaskClient, path: str, data: bytes, kind: str) -> None:
    """A body that cannot be read is refused in JSON, too."""
    answer = client.post(path, data=data, content_type=kind)
    assert answer.status_code == 400
    assert json_of(answer)["error"]


def test_a_huge_body_is_413(client: FlaskClient) -> None:
    """A body above 64 KiB is not read."""
    answer = client.post("/api/assets", data=b" " * 70_000, content_type="application/json")
    assert answer.status_code in (400, 413)
    assert json_of(answer)["error"]


def test_a_thumbnail_is_drawn_kept_and_shown(client: FlaskClient) -> None:
    """The image server draws, the API keeps the picture, and drawing again replaces it."""
    assert client.get("/api/assets/2/thumbnail").status_code == 404
    for _ in range(2):
        drawn = client.post("/api/assets/2/thumbnail")
        assert drawn.status_code == 200
    shown = client.get("/api/assets/2/thumbnail")
    assert shown.mimetype == "image/png"
    assert shown.data.startswith(b"\x89PNG\r\n\x1a\n")
    assert len(shown.data) == json_of(drawn)["bytes"]
    assert json_of(client.get("/api/assets/2"))["hasThumbnail"] is True
    assert "/api/assets/2/thumbnail" in client.get("/").text


def test_generating_describes_draws_and_stores(client: FlaskClient) -> None:
    """A prompt becomes an asset with a thumbnail; the same prompt gets the same description."""
    made = [client.post("/api/generate", json={"prompt": "a bridge in the rain"}) for _ in range(2)]
    assert [answer.status_code for answer in made] == [201, 201]
    first, second = (json_of(answer) for answer in made)
    assert (first["name"], first["kind"], first["source"]) == (second["name"], second["kind"], "generated")
    assert "a bridge in the rain" in first["name"]
    assert client.get(f"/api/assets/{first['id']}/thumbnail").status_code == 200


@pytest.mark.parametrize("prompt", ["", "x", 7, None, "y" * 301])
def test_a_bad_prompt_is_400(client: FlaskClient, prompt: object) -> None:
    """A prompt that is no text, too short or too long is refused."""
    answer = client.post("/api/generate", json={"prompt": prompt})
    assert (answer.status_code, list(json_of(answer)["fields"])) == (400, ["prompt"])


@pytest.mark.parametrize(("faults", "status"), [(Faults(error_rate=1.0, status=503), 502), (Faults(hang=True), 504)])
def test_a_failing_ai_upstream_is_a_gateway_error(
    client: FlaskClient, ai_faults: FaultSwitch, faults: Faults, status: int
) -> None:
    """An upstream that fails or hangs costs the request its success, not the asset list its order."""
    ai_faults.set(faults)
    answer = client.post("/api/generate", json={"prompt": "a bridge"})
    ai_faults.set(Faults())
    assert (answer.status_code, json_of(answer)["service"]) == (status, "AI upstream")
    assert json_of(client.get("/api/assets"))["total"] == len(SEED_ASSETS)


def test_a_failing_image_server_leaves_no_half_made_asset(client: FlaskClient, image_faults: FaultSwitch) -> None:
    """When only the drawing fails, nothing is stored."""
    image_faults.set(Faults(error_rate=1.0))
    answer = client.post("/api/generate", json={"prompt": "a bridge"})
    assert (answer.status_code, json_of(answer)["service"]) == (502, "image server")
    assert json_of(client.get("/api/assets"))["total"] == len(SEED_ASSETS)


def test_an_absent_upstream_is_502_and_logged_with_its_traceback(
    make_api: Callable[[ApiSettings], Flask], api_settings: ApiSettings, caplog: pytest.LogCaptureFixture
) -> None:
    """A refused connection is a gateway error, and the log says why."""
    (port,) = free_ports(1)
    client = make_api(replace(api_settings, image_server_url=f"http://127.0.0.1:{port}")).test_client()
    assert client.post("/api/assets/1/thumbnail").status_code == 502
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [record.getMessage() for record in errors] == ["UpstreamError: image server cannot be reached"]
    assert errors[0].exc_info is not None


def test_generating_without_a_key_is_503(make_api: Callable[[ApiSettings], Flask], api_settings: ApiSettings) -> None:
    """Without an API key the paid service is not even asked."""
    client = make_api(replace(api_settings, meshy_api_key="")).test_client()
    answer = client.post("/api/generate", json={"prompt": "a bridge"})
    assert answer.status_code == 503
    assert "MESHY_API_KEY" in json_of(answer)["error"]


def test_the_error_endpoint_raises_for_real(api: Flask, caplog: pytest.LogCaptureFixture) -> None:
    """It fails with an exception that nobody handles: 500 in JSON outside, a traceback in the log."""
    answer = api.test_client().get("/api/error")
    assert answer.status_code == 500
    assert json_of(answer)["status"] == 500
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.exc_info is not None and record.exc_info[0] is InventoryMismatch


def test_slow_is_slow_and_bounded(client: FlaskClient) -> None:
    """It waits as long as asked, and no longer than allowed."""
    assert client.get("/api/slow?ms=1").json == {"waitedMs": 1}
    assert client.get("/api/slow?ms=5001").status_code == 400
    assert client.get("/api/slow?ms=nan").status_code == 400


def test_export_streams_every_asset_as_ndjson(client: FlaskClient) -> None:
    """A line per asset, over more than one batch, and no length given before."""
    for number in range(60):
        client.post("/api/assets", json={"name": f"Box {number}", "kind": "prop"})
    answer = client.get("/api/export")
    assert answer.is_streamed
    assert answer.content_length is None
    assert [json.loads(line)["id"] for line in answer.text.splitlines()] == list(range(1, 85))


def test_export_streams_every_asset_as_csv(client: FlaskClient) -> None:
    """A header and a row per asset, names with commas quoted."""
    client.post("/api/assets", json={"name": 'Box, "large"', "kind": "prop"})
    rows = list(csv.DictReader(client.get("/api/export?format=csv").text.splitlines()))
    assert [row["name"] for row in rows][-1] == 'Box, "large"'
    assert len(rows) == 25
    assert client.get("/api/export?format=xml").status_code == 400


def healthy(client: FlaskClient, **services: bool) -> TestResponse:
    """Return the report as soon as it says of the services what is expected."""
    until(lambda: services.items() <= json_of(client.get("/api/health"))["services"].items(), 20)
    return client.get("/api/health")


def test_health_has_the_shape_of_the_handbook(client: FlaskClient) -> None:
    """Everything is there: 200, healthy, and each field with its unit."""
    answer = healthy(client, meshy=True, openai=True, database=True, imageServer=True)
    report = json_of(answer)
    assert set(report) == {"status", "timestamp", "uptime", "memory", "services"}
    assert list(report["services"])[:4] == ["meshy", "openai", "database", "imageServer"]
    is_well = all(report["services"].values())  # the disk of the machine included
    assert (answer.status_code, report["status"]) == ((200, "healthy") if is_well else (503, "degraded"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", report["timestamp"])
    assert report["uptime"] >= 0
    assert 1 < report["memory"]["rss"] < report["memory"]["used"] < report["memory"]["total"]


def test_health_is_503_and_degraded_when_something_is_missing(
    make_api: Callable[[ApiSettings], Flask], api_settings: ApiSettings, image_faults: FaultSwitch
) -> None:
    """Each missing service is named, one is enough; the API still wants requests, as it can serve most of them."""
    image_faults.set(Faults(error_rate=1.0))
    client = make_api(replace(api_settings, openai_api_key="")).test_client()
    answer = healthy(client, meshy=True, openai=False, database=True, imageServer=False)
    assert (answer.status_code, json_of(answer)["status"]) == (503, "degraded")
    ready = client.get("/ready")
    assert (ready.status_code, json_of(ready)["status"]) == (200, "warn")


def test_without_its_database_the_api_wants_no_requests(api: Flask) -> None:
    """A database that cannot be opened makes it unready, and is no reason to end it."""
    store = parts_of(api).store
    store.close()
    event.listen(store.engine, "do_connect", _refuse)
    client = api.test_client()
    assert healthy(client, database=False).status_code == 503
    assert (client.get("/ready").status_code, client.get("/startup").status_code) == (503, 503)
    assert client.get("/live").status_code == 200


def _refuse(*call: object) -> None:
    raise sqlite3.OperationalError("unable to open database file")


def test_generating_too_often_is_429(make_api: Callable[[ApiSettings], Flask], api_settings: ApiSettings) -> None:
    """The limit holds for each client and for generating alone; a JSON error says so, headers say for how long."""
    client = make_api(replace(api_settings, rate_limit="2 per 15 minutes")).test_client()
    answers = [client.post("/api/generate", json={"prompt": "a bridge"}) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [201, 201, 429]
    assert json_of(answers[2]) == {"error": "2 per 15 minute", "status": 429}
    assert 0 < int(answers[2].headers["Retry-After"]) <= 900
    assert answers[2].headers["RateLimit-Policy"] == '"2 per 15 minute";q=2;w=900'
    assert client.get("/api/assets").status_code == 200
    elsewhere = client.post("/api/generate", json={"prompt": "a bridge"}, environ_base={"REMOTE_ADDR": "192.0.2.7"})
    assert elsewhere.status_code == 201


def test_unknown_paths_and_methods_are_json_errors(client: FlaskClient) -> None:
    """404 and 405 are JSON, and a 405 says which methods there are."""
    missing, refused = client.get("/api/nothing"), client.delete("/api/assets/1")
    assert (missing.status_code, json_of(missing)["status"]) == (404, 404)
    assert (refused.status_code, json_of(refused)["status"]) == (405, 405)
    assert "GET" in refused.headers["Allow"]
