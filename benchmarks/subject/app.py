"""The app whose requests are measured: as small as a real service gets, the same for every variant.

It knows no telemetry. ``/scale`` alone makes spans, through the OpenTelemetry API if that is installed.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import tempfile
import threading
from functools import cache
from pathlib import Path
from typing import Any

import requests
from flask import Flask, jsonify, request

ASSETS = 1000
"""How many rows there are; identifiers run from 1 to this."""

_log = logging.getLogger("assets")


class Store:
    """Assets in an SQLite file, one connection for each thread."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="benchmark-")  # goes with the process
        self._path = path = Path(self._folder.name) / "assets.db"
        self._local = threading.local()
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE asset (id INTEGER PRIMARY KEY, name TEXT NOT NULL, size INTEGER NOT NULL)")
            rows = [(key, f"asset-{key}", key * 7) for key in range(1, ASSETS + 1)]
            connection.executemany("INSERT INTO asset VALUES (?, ?, ?)", rows)
        connection.close()

    def connection(self) -> sqlite3.Connection:
        """Return the calling thread's connection, which never waits for the disk."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = sqlite3.connect(self._path)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=OFF")
        return connection

    def one(self, statement: str, *values: Any) -> Any:
        """Return the first row that `statement` finds, or None."""
        cursor = self.connection().cursor()
        cursor.execute(statement, values)
        row = cursor.fetchone()
        cursor.close()
        return row


def create_app() -> Flask:
    """Return the app with its own store; also arranges logging, once, to a stream that goes nowhere."""
    _log_to_nowhere()
    app = Flask("assets")
    _add_asset_routes(app, Store())
    _add_other_routes(app)
    return app


@cache
def _log_to_nowhere() -> None:
    handler = logging.StreamHandler(Path(os.devnull).open("w"))  # noqa: SIM115 - open as long as the process is
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)


def _add_asset_routes(app: Flask, store: Store) -> None:
    @app.get("/api/assets/<int:key>")
    def asset(key: int) -> Any:
        row = store.one("SELECT id, name, size FROM asset WHERE id = ?", key)
        if row is None:
            return jsonify(error="no such asset"), 404
        _log.info("asset %s was read", key)
        return jsonify(id=row[0], name=row[1], size=row[2])

    @app.post("/api/assets/<int:key>")
    def store_asset(key: int) -> Any:
        fields = request.get_json()
        cursor = store.connection().cursor()
        cursor.execute("INSERT OR REPLACE INTO asset VALUES (?, ?, ?)", (key, fields["name"], fields["size"]))
        cursor.close()
        store.connection().commit()
        row = store.one("SELECT id, name, size FROM asset WHERE id = ?", key)
        total = store.one("SELECT max(id) FROM asset")
        _log.info("asset %s was stored as %s", key, fields["name"])
        return jsonify(id=row[0], name=row[1], size=row[2], highest=total[0]), 201


def _add_other_routes(app: Flask) -> None:
    upstream = os.environ.get("BENCHMARK_UPSTREAM", "")
    session = requests.Session()
    session.trust_env = False

    @app.get("/api/preview/<int:key>")
    def preview(key: int) -> Any:
        answer = session.get(f"{upstream}/preview/{key}", timeout=10)
        return jsonify(id=key, preview=answer.text)

    @app.get("/api/broken/<int:key>")
    def broken(key: int) -> Any:
        return _parse({"key": key, "size": "seven"})

    @app.get("/scale/<int:spans>/<int:attributes>")
    def scale(spans: int, attributes: int) -> Any:
        make_spans(spans, attributes)
        return jsonify(spans=spans)


def _parse(fields: dict[str, Any]) -> Any:
    return _whole_number(fields["size"])


def _whole_number(text: str) -> int:
    return int(text)


def make_spans(count: int, attributes: int) -> None:
    """Make `count` spans inside each other's parent, with `attributes` attributes; nothing if there is no API."""
    try:
        from opentelemetry import trace
    except ImportError:
        return
    tracer = trace.get_tracer("assets")
    for _ in range(count):
        with tracer.start_as_current_span("step") as span:
            for index in range(attributes):
                span.set_attribute(_NAMES[index], index)


_NAMES = [f"app.step.attribute_{index}" for index in range(200)]
