"""The mix of requests for Asset Forge: mostly readers, some makers, a few who get it wrong."""

from __future__ import annotations

from random import Random
from urllib.parse import quote

from asset_forge.seed import KINDS, SEED_ASSETS
from asset_forge.traffic.plan import Mix, Phase, Request, get, with_json

ONE = "/api/assets/<int:id>"
THUMBNAIL = "/api/assets/<int:id>/thumbnail"

_SUBJECTS = (
    "bridge",
    "watchtower",
    "merchant",
    "canyon",
    "steam tram",
    "lamp",
    "orchard wall",
    "diving bell",
)
_PLACES = ("by the sea", "in the rain", "under snow", "at a market", "on a hill", "after a storm")
_WORDS = ("harbour", "prop", "tower", "stone", "zeppelin", "100%", "polygons", "Brass")


def list_page(chance: Random) -> Request:
    """Ask for a page of the list; one in ten pages is past the end."""
    page = chance.choices((1, 2, 3, 400), (60, 20, 10, 10))[0]
    return Request("GET", f"/api/assets?page={page}&size={chance.choice((5, 12, 50))}", "/api/assets")


def one_asset(chance: Random) -> Request:
    """Ask for an asset that is there; a few are asked for much more than others."""
    return Request("GET", f"/api/assets/{_popular(chance)}", ONE)


def missing_asset(chance: Random) -> Request:
    """Ask for an asset that is not there: 404, with a route."""
    return Request("GET", f"/api/assets/{chance.randrange(900_000_000, 900_001_000)}", ONE)


def search(chance: Random) -> Request:
    """Search for a word."""
    return Request("GET", f"/api/assets/search?q={quote(chance.choice(_WORDS))}", "/api/assets/search")


def bad_query(chance: Random) -> Request:
    """Ask with a query string that is refused: 400."""
    path, route = chance.choice(
        (
            ("/api/assets?page=0", "/api/assets"),
            ("/api/assets?size=many", "/api/assets"),
            ("/api/assets/search", "/api/assets/search"),
            ("/api/slow?ms=-1", "/api/slow"),
            ("/api/export?format=xml", "/api/export"),
        )
    )
    return Request("GET", path, route)


def create(chance: Random) -> Request:
    """Store an asset."""
    body = {
        "name": f"{chance.choice(_SUBJECTS).capitalize()} {chance.randrange(1000)}",
        "kind": chance.choice(KINDS),
        "polygons": chance.randrange(200, 60_000),
        "description": f"Seen {chance.choice(_PLACES)}.",
    }
    return with_json("POST", "/api/assets", "/api/assets", body)


def bad_create(chance: Random) -> Request:
    """Try to store something that is no asset: 400."""
    bad: tuple[object, ...] = ({"name": "", "kind": "prop"}, {"name": "Box", "kind": "cloud"}, ["Box"], {})
    return with_json("POST", "/api/assets", "/api/assets", chance.choice(bad))


def thumbnail(chance: Random) -> Request:
    """Let a thumbnail be drawn."""
    return Request("POST", f"/api/assets/{_popular(chance)}/thumbnail", THUMBNAIL)


def see_thumbnail(chance: Random) -> Request:
    """Look at a thumbnail, which may not have been drawn yet."""
    return Request("GET", f"/api/assets/{_popular(chance)}/thumbnail", THUMBNAIL)


def generate(chance: Random) -> Request:
    """Let a model be made from a prompt."""
    prompt = f"a {chance.choice(_SUBJECTS)} {chance.choice(_PLACES)}"
    return with_json("POST", "/api/generate", "/api/generate", {"prompt": prompt})


def bad_generate(chance: Random) -> Request:
    """Ask for a model without a usable prompt: 400."""
    return with_json("POST", "/api/generate", "/api/generate", {"prompt": chance.choice(("", "x", 7))})


def slow(chance: Random) -> Request:
    """Ask for a slow answer."""
    return Request("GET", f"/api/slow?ms={chance.choice((80, 150, 250, 400))}", "/api/slow")


def export(chance: Random) -> Request:
    """Stream everything."""
    return Request("GET", f"/api/export?format={chance.choice(('ndjson', 'csv'))}", "/api/export")


def nowhere(chance: Random) -> Request:
    """Ask for a path that no route matches: 404, without a route."""
    return Request("GET", chance.choice(("/api/asset", "/api/assets/seven", "/wp-login.php", "/robots.txt")), None)


def not_allowed(chance: Random) -> Request:
    """Use a method that the path does not have: 405, without a route."""
    method, path = chance.choice((("DELETE", "/api/assets/3"), ("PUT", "/api/assets"), ("POST", "/api/slow")))
    return Request(method, path, None)


def head(chance: Random) -> Request:
    """Ask for the head of an asset only."""
    return Request("HEAD", f"/api/assets/{_popular(chance)}", ONE)


def _popular(chance: Random) -> int:
    return 1 + min(int(chance.expovariate(0.25)), len(SEED_ASSETS) - 1)


page = get("/", "/")
style = get("/static/style.css", "/static/<path:filename>")
error = get("/api/error", "/api/error")

EVERYDAY: Mix = (
    (30, one_asset),
    (18, list_page),
    (10, search),
    (8, page),
    (4, style),
    (4, see_thumbnail),
    (6, thumbnail),
    (6, generate),
    (3, create),
    (3, missing_asset),
    (2, export),
    (2, slow),
    (2, nowhere),
    (1, bad_query),
    (1, bad_create),
    (1, bad_generate),
    (1, not_allowed),
    (1, head),
)
READERS: Mix = ((50, one_asset), (25, list_page), (15, page), (10, search))
DRAWING: Mix = ((50, thumbnail), (30, one_asset), (10, list_page), (10, see_thumbnail))
GENERATING: Mix = ((50, generate), (30, one_asset), (10, list_page), (10, page))
FAILING: Mix = ((40, error), (40, one_asset), (20, list_page))

CYCLE = (
    Phase("steady", 150, EVERYDAY),
    Phase("burst", 80, READERS, pace=4.0),
    Phase("fault: errors", 20, FAILING),
    Phase("steady", 100, EVERYDAY),
    Phase("fault: image server slow", 30, DRAWING, faults={"image-server": {"latency_ms": 900}}),
    Phase("steady", 100, EVERYDAY),
    Phase("fault: AI failing", 30, GENERATING, faults={"ai-upstream": {"error_rate": 0.8, "status": 503}}),
    Phase("steady", 100, EVERYDAY),
    Phase("fault: image server hanging", 8, DRAWING, pace=0.5, faults={"image-server": {"hang": True}}),
)
