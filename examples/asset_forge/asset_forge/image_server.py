"""The image server: draws a small PNG for an asset. A service of its own, called by the asset API."""

from __future__ import annotations

import hashlib
import logging
import os
import struct
import zlib
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path

from flask import Flask, Response, jsonify, request
from flask.typing import ResponseReturnValue

from asset_forge import settings
from asset_forge.faults import Faults, FaultSwitch, install
from otel_forge.web.health import HealthRoutes

logger = logging.getLogger(__name__)

WIDTH, HEIGHT, CELL = 160, 120, 20

_HUES: dict[str, tuple[int, int, int]] = {
    "building": (176, 96, 64),
    "character": (92, 110, 170),
    "prop": (160, 136, 60),
    "terrain": (72, 140, 88),
    "vehicle": (128, 84, 150),
}
_OTHER = (110, 110, 110)


def create_app(faults: FaultSwitch) -> Flask:
    """Build the image server."""
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = 16 * 1024
    install(app, faults)

    @app.post("/render")
    def render() -> ResponseReturnValue:
        body = request.get_json(silent=True)
        name = body.get("name") if isinstance(body, dict) else None
        if not isinstance(body, dict) or not isinstance(name, str) or not name:
            return jsonify(error="The body must be a JSON object with a name."), HTTPStatus.BAD_REQUEST
        png = draw(name, str(body.get("kind", "")))
        logger.info("drew %d bytes", len(png))
        return Response(png, mimetype="image/png")

    @app.get("/health")
    def health() -> ResponseReturnValue:
        return jsonify(status="ok")

    HealthRoutes(app, ready=None, startup=None, report=None)  # /live, which no fault touches
    return app


def draw(name: str, kind: str) -> bytes:
    """Return a PNG of 160 x 120 points: a mirrored mosaic in the colour of the kind, unique to the name."""
    digest = hashlib.sha256(name.encode("utf-8", "replace")).digest()
    red, green, blue = _HUES.get(kind, _OTHER)
    rows = []
    for y in range(HEIGHT // CELL):
        row = bytearray()
        for x in range(WIDTH // CELL):
            mirrored = min(x, WIDTH // CELL - 1 - x)
            shade = (40 + digest[(y * 4 + mirrored) % len(digest)]) / 260
            row += bytes(min(255, int(part * shade) + 30) for part in (red, green, blue)) * CELL
        rows.extend([b"\x00" + bytes(row)] * CELL)
    return encode_png(WIDTH, HEIGHT, b"".join(rows))


def encode_png(width: int, height: int, scanlines: bytes) -> bytes:
    """Encode 8-bit RGB scan lines, each led by a filter byte of 0 (PNG specification, sections 5 and 11)."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(scanlines)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def from_env(environ: Mapping[str, str]) -> Flask:
    """Build the image server with LOG_LEVEL, FAULTS and FAULTS_FILE."""
    logging.basicConfig(level=settings.level(environ, "LOG_LEVEL", "INFO"), format=settings.LOG_FORMAT)
    file = environ.get("FAULTS_FILE")
    return create_app(FaultSwitch(Faults.from_env(environ), Path(file) if file else None))


def application() -> Flask:
    """Build the service as the environment says: ``gunicorn 'asset_forge.image_server:application()'``."""
    return from_env(os.environ)


def main() -> None:
    """Run the image server with Flask's own server on PORT, 3005 by default."""
    port = settings.port(os.environ, "PORT", 3005)
    from_env(os.environ).run(host=os.environ.get("HOST") or "127.0.0.1", port=port, threaded=True)


if __name__ == "__main__":
    main()
