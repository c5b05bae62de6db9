"""The asset API: a Flask application that logs, captures errors, measures and is looked after with otel-forge.

Spans, standard metrics and the export of logs come from outside, with ``opentelemetry-instrument``. ``Forge(app)`` adds
what belongs into the application: health routes, the request log, the error boundary, and an eye on the rate limit.
"""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from http import HTTPStatus

from flask import (
    Blueprint,
    Flask,
    Response,
    current_app,
    jsonify,
    render_template,
    request,
)
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException

from asset_forge.assets import Asset, AssetStore
from asset_forge.operations import add_alert_rules, add_health_checks, build_limiter
from asset_forge.settings import ApiSettings
from asset_forge.upstreams import AiUpstream, ImageServer, UpstreamError
from asset_forge.validation import InvalidRequest, new_asset, page_window, prompt, search_text, whole_number
from otel_forge import Forge, capture_error, get_logger, metrics, track_performance

logger = get_logger(__name__)

MAX_BODY_BYTES = 64 * 1024
MAX_SLOW_MS = 5000
SEARCH_LIMIT = 50

api = Blueprint("api", __name__, url_prefix="/api")
limiter = build_limiter()


@dataclass(frozen=True)
class Parts:
    """What the views work with; one per application."""

    settings: ApiSettings
    store: AssetStore
    images: ImageServer
    ai: AiUpstream


class InventoryMismatch(RuntimeError):
    """The stock count of an asset contradicts itself: the fault that ``GET /api/error`` shows."""


def create_app(settings: ApiSettings) -> Flask:
    """Build the application; makes and seeds the database when it is new."""
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    app.extensions["asset_forge"] = made = build_parts(settings)
    limiter.init_app(app)
    app.register_blueprint(api)
    app.add_url_rule("/", "index", index)
    app.register_error_handler(HTTPException, show_http_error)
    app.register_error_handler(InvalidRequest, show_invalid_request)
    app.register_error_handler(UpstreamError, show_upstream_error)
    add_health_checks(settings, made.store)
    add_alert_rules()
    Forge(app, rate_limits=limiter)
    return app


def build_parts(settings: ApiSettings) -> Parts:
    """Open the database and the ways to the upstream services."""
    store = AssetStore(settings.database_url)
    images = ImageServer(settings.image_server_url, settings.image_server_timeout_s)
    ai = AiUpstream(settings.ai_upstream_url, settings.ai_upstream_timeout_s, settings.meshy_api_key)
    return Parts(settings, store, images, ai)


def parts() -> Parts:
    """Return what the current application works with."""
    found = current_app.extensions["asset_forge"]
    assert isinstance(found, Parts)
    return found


def index() -> ResponseReturnValue:
    """Show a page of assets."""
    window = page_window(request.args)
    page = parts().store.page(window.offset, window.size)
    pages = max(1, -(-page.total // window.size))
    return render_template("index.html", assets=page.assets, total=page.total, page=window.number, pages=pages)


@api.get("/assets")
def list_assets() -> ResponseReturnValue:
    """List assets, a page at a time."""
    window = page_window(request.args)
    page = parts().store.page(window.offset, window.size)
    logger.info("listed page %d of assets", window.number)
    return jsonify(
        assets=[asset.as_json() for asset in page.assets],
        total=page.total,
        page=window.number,
        size=window.size,
    )


@api.get("/assets/<int:id>")
def get_asset(id: int) -> ResponseReturnValue:
    """Show one asset."""
    started = time.perf_counter()
    asset = parts().store.get(id)
    logger.info("asset %d %s", id, "found" if asset else "not found", asset_id=id)
    if asset is None:
        return no_such_asset(id)
    metrics.record("asset_load_time", (time.perf_counter() - started) * 1000, "ms", asset_type=asset.kind)
    return jsonify(asset.as_json())


@api.get("/assets/search")
def search_assets() -> ResponseReturnValue:
    """Find assets by a piece of their name or description."""
    text = search_text(request.args)
    found = parts().store.search(text, SEARCH_LIMIT)
    logger.info("search found %d assets", len(found))
    return jsonify(assets=[asset.as_json() for asset in found], query=text)


@api.post("/assets")
def create_asset() -> ResponseReturnValue:
    """Store a new asset."""
    asset = parts().store.add(new_asset(request.get_json(silent=True)))
    logger.info("asset %d created", asset.id, asset_id=asset.id, kind=asset.kind)
    return jsonify(asset.as_json()), HTTPStatus.CREATED, {"Location": f"/api/assets/{asset.id}"}


@api.get("/assets/<int:id>/thumbnail")
def show_thumbnail(id: int) -> ResponseReturnValue:
    """Send the thumbnail of an asset."""
    png = parts().store.thumbnail(id)
    if png is None:
        return jsonify(error=f"Asset {id} has no thumbnail."), HTTPStatus.NOT_FOUND
    return Response(png, mimetype="image/png", headers={"Cache-Control": "max-age=60"})


@api.post("/assets/<int:id>/thumbnail")
def make_thumbnail(id: int) -> ResponseReturnValue:
    """Let the image server draw an asset and keep the picture."""
    asset = parts().store.get(id)
    if asset is None:
        return no_such_asset(id)
    png = parts().images.render(asset.name, asset.kind)
    parts().store.set_thumbnail(id, png)
    logger.info("thumbnail of asset %d drawn", id, asset_id=id, bytes=len(png))
    return jsonify(id=id, bytes=len(png), url=f"/api/assets/{id}/thumbnail")


@api.post("/generate")
@limiter.limit(lambda: parts().settings.rate_limit)
def generate() -> ResponseReturnValue:
    """Make an asset from a prompt: described by the AI upstream, drawn by the image server, stored."""
    text = prompt(request.get_json(silent=True))
    metrics.record("api_request_count", 1, "count", endpoint="meshy")  # each one is paid for
    model = parts().ai.describe(text)
    new = new_asset(
        {
            "name": model.name,
            "kind": model.kind,
            "polygons": model.polygons,
            "description": model.description,
        },
        source="generated",
    )
    png = parts().images.render(new.name, new.kind)
    asset = parts().store.add(new, png)
    logger.info("asset %d generated", asset.id, asset_id=asset.id, kind=asset.kind)
    return jsonify(asset.as_json()), HTTPStatus.CREATED, {"Location": f"/api/assets/{asset.id}"}


@api.get("/error")
def raise_error() -> ResponseReturnValue:
    """Fail with an exception that nobody handles."""
    asset = parts().store.get(1)
    check_stock(asset.name if asset else "asset 1", reserved=3, stock=1)
    return jsonify(status="in stock")


@track_performance
def check_stock(name: str, reserved: int, stock: int) -> None:
    """Compare what is reserved of an asset with what is there; raises InventoryMismatch."""
    if reserved > stock:
        raise InventoryMismatch(f"{name}: {reserved} are reserved, {stock} is in stock")


@api.get("/slow")
def be_slow() -> ResponseReturnValue:
    """Answer after a while; a while of more than a second is a warning in the log."""
    ms = whole_number(request.args, "ms", default=250, low=0, high=MAX_SLOW_MS)
    with track_performance("slow_answer"):
        time.sleep(ms / 1000)
    return jsonify(waitedMs=ms)


@api.get("/export")
def export_assets() -> ResponseReturnValue:
    """Stream every asset as NDJSON or CSV."""
    form = request.args.get("format", "ndjson")
    if form not in ("ndjson", "csv"):
        raise InvalidRequest({"format": "must be ndjson or csv"})
    rows = parts().store.export()
    lines = csv_lines(rows) if form == "csv" else (json.dumps(row.as_json()) + "\n" for row in rows)
    logger.info("export as %s begins", form)
    mimetype = "text/csv" if form == "csv" else "application/x-ndjson"
    return Response(lines, mimetype=mimetype)


def csv_lines(rows: Iterable[Asset]) -> Iterator[str]:
    """Yield CSV lines with a header, a line per asset."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["id", "name", "kind", "polygons", "source", "created_at"])
    for row in rows:
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
        created = row.created_at.isoformat(timespec="seconds") + "Z"
        writer.writerow([row.id, row.name, row.kind, row.polygons, row.source, created])
    yield buffer.getvalue()


def no_such_asset(asset_id: int) -> ResponseReturnValue:
    """Answer that there is no asset with this id."""
    return jsonify(error=f"There is no asset {asset_id}."), HTTPStatus.NOT_FOUND


def show_http_error(error: HTTPException) -> ResponseReturnValue:
    """Answer an HTTP error as JSON, with the headers that belong to it (Allow of a 405)."""
    headers = [(name, value) for name, value in error.get_headers() if name.lower() != "content-type"]
    return jsonify(error=error.description or error.name, status=error.code), error.code or 500, headers


def show_invalid_request(error: InvalidRequest) -> ResponseReturnValue:
    """Answer what is wrong with a request, field by field."""
    logger.info("request refused: %s", ", ".join(sorted(error.fields)))
    return jsonify(error="The request is not valid.", fields=error.fields), HTTPStatus.BAD_REQUEST


def show_upstream_error(error: UpstreamError) -> ResponseReturnValue:
    """Answer that a service behind us failed."""
    capture_error(error, component="UpstreamService", service=error.service)
    return jsonify(error=f"The {error}.", service=error.service), error.status
