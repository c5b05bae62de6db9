"""The AI upstream: describes a 3D model for a prompt. It stands for a paid service, and is slow like one.

The same prompt gets the same answer after the same time.
"""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path

from flask import Flask, jsonify, request
from flask.typing import ResponseReturnValue

from asset_forge import settings
from asset_forge.faults import Faults, FaultSwitch, install
from asset_forge.seed import KINDS

logger = logging.getLogger(__name__)

DEFAULT_LATENCY_MS = 120
_STYLES = ("weathered", "polished", "rough-hewn", "gilded", "moss-grown", "riveted", "painted", "unfinished")
_MATERIALS = ("oak", "granite", "brass", "canvas", "glass", "slate", "wrought iron", "clay")


def create_app(faults: FaultSwitch, latency_ms: float = DEFAULT_LATENCY_MS) -> Flask:
    """Build the AI upstream; an answer takes latency_ms and up to half as much again."""
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = 16 * 1024
    install(app, faults)

    @app.post("/v1/models/describe")
    def describe_model() -> ResponseReturnValue:
        if not request.headers.get("Authorization", "").startswith("Bearer "):
            return jsonify(error="An API key is needed."), HTTPStatus.UNAUTHORIZED
        body = request.get_json(silent=True)
        prompt = body.get("prompt") if isinstance(body, dict) else None
        if not isinstance(prompt, str) or not prompt.strip():
            return jsonify(error="The body must be a JSON object with a prompt."), HTTPStatus.BAD_REQUEST
        digest = hashlib.sha256(prompt.encode("utf-8", "replace")).digest()
        time.sleep(latency_ms * (1 + digest[0] / 512) / 1000)
        logger.info("described a model for a prompt of %d characters", len(prompt))
        return jsonify(describe(prompt.strip(), digest))

    @app.get("/health")
    def health() -> ResponseReturnValue:
        return jsonify(status="ok")

    return app


def describe(prompt: str, digest: bytes) -> dict[str, object]:
    """Make up a model from a prompt and its digest; nothing random about it."""
    style, material = _STYLES[digest[1] % len(_STYLES)], _MATERIALS[digest[2] % len(_MATERIALS)]
    subject = " ".join(prompt.split())[:50]
    return {
        "name": f"{style.capitalize()} {subject}",
        "kind": KINDS[digest[3] % len(KINDS)],
        "polygons": 500 + int.from_bytes(digest[4:6], "big"),
        "description": f"{subject}, {style}, mostly {material}.",
        "tokens": 20 + len(prompt) // 4,
    }


def from_env(environ: Mapping[str, str]) -> Flask:
    """Build the AI upstream with AI_LATENCY_MS, LOG_LEVEL, FAULTS and FAULTS_FILE."""
    logging.basicConfig(level=settings.level(environ, "LOG_LEVEL", "INFO"), format=settings.LOG_FORMAT)
    file = environ.get("FAULTS_FILE")
    switch = FaultSwitch(Faults.from_env(environ), Path(file) if file else None)
    return create_app(switch, settings.number(environ, "AI_LATENCY_MS", DEFAULT_LATENCY_MS, 0, 10_000))


def application() -> Flask:
    """Build the service as the environment says: ``gunicorn 'asset_forge.ai_upstream:application()'``."""
    return from_env(os.environ)


def main() -> None:
    """Run the AI upstream with Flask's own server on PORT, 3006 by default."""
    port = settings.port(os.environ, "PORT", 3006)
    from_env(os.environ).run(host=os.environ.get("HOST") or "127.0.0.1", port=port, threaded=True)


if __name__ == "__main__":
    main()
