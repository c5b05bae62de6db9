"""The mix of requests for httpbin, a Flask application that we did not write.

Only answers that are sure are asked for: no random status, nothing that depends on an optional library.
"""

from __future__ import annotations

import base64
from random import Random

from asset_forge.traffic.plan import Mix, Phase, Request, get, with_json


def status(chance: Random) -> Request:
    """Ask for a status code by any of the methods."""
    code = chance.choice((200, 201, 202, 204, 301, 304, 400, 403, 404, 409, 418, 429, 500, 502, 503))
    method = chance.choice(("GET", "GET", "GET", "POST", "PUT", "PATCH", "DELETE"))
    return Request(method, f"/status/{code}", "/status/<codes>")


def bad_status(chance: Random) -> Request:
    """Ask for a status that is no number: 400."""
    return Request("GET", "/status/teapot", "/status/<codes>")


def redirect(chance: Random) -> Request:
    """Ask for a redirect, which is not followed."""
    n = chance.randrange(1, 6)
    return chance.choice(
        (
            Request("GET", f"/redirect/{n}", "/redirect/<int:n>"),
            Request("GET", f"/relative-redirect/{n}", "/relative-redirect/<int:n>"),
            Request("GET", f"/absolute-redirect/{n}", "/absolute-redirect/<int:n>"),
            Request("GET", "/redirect-to?url=/get&status_code=307", "/redirect-to"),
        )
    )


def stream(chance: Random) -> Request:
    """Ask for a body that comes in pieces."""
    n = chance.randrange(1, 30)
    return chance.choice(
        (
            Request("GET", f"/stream/{n}", "/stream/<int:n>"),
            Request("GET", f"/stream-bytes/{n * 100}?seed=1&chunk_size=256", "/stream-bytes/<int:n>"),
            Request("GET", f"/drip?numbytes={n}&duration=0.1", "/drip"),
        )
    )


def sized(chance: Random) -> Request:
    """Ask for a body of a size."""
    return Request("GET", f"/bytes/{chance.randrange(1, 4000)}?seed=2", "/bytes/<int:n>")


def basic_auth(chance: Random) -> Request:
    """Log in, two times in three with the right password: 200 or 401."""
    given = chance.choice(("swordfish", "swordfish", "password1"))
    token = base64.b64encode(f"ada:{given}".encode()).decode()
    return Request(
        "GET",
        "/basic-auth/ada/swordfish",
        "/basic-auth/<user>/<passwd>",
        None,
        (("Authorization", f"Basic {token}"),),
    )


def hidden_auth(chance: Random) -> Request:
    """Do not log in where that looks like a missing page: 404."""
    return Request("GET", "/hidden-basic-auth/ada/swordfish", "/hidden-basic-auth/<user>/<passwd>")


def bearer(chance: Random) -> Request:
    """Show a bearer token, or none: 200 or 401."""
    headers = chance.choice(((), (("Authorization", "Bearer not-a-secret"),)))
    return Request("GET", "/bearer", "/bearer", None, headers)


def delay(chance: Random) -> Request:
    """Ask for a late answer; a delay below zero fails inside httpbin: 500."""
    seconds = chance.choice(("0", "0.05", "0.1", "0.25", "-1"))
    return Request("GET", f"/delay/{seconds}", "/delay/<delay>")


def echo(chance: Random) -> Request:
    """Send a body and get it back."""
    method, path = chance.choice((("POST", "/post"), ("PUT", "/put"), ("PATCH", "/patch"), ("DELETE", "/delete")))
    return with_json(method, path, path, {"number": chance.randrange(1000)})


def anything(chance: Random) -> Request:
    """Send anything anywhere."""
    if chance.random() < 0.5:
        return with_json("POST", "/anything", "/anything", {"number": chance.randrange(1000)})
    return Request("GET", f"/anything/{chance.choice('abc')}/{chance.randrange(9)}", "/anything/<path:anything>")


def fixed(chance: Random) -> Request:
    """Ask for one of the pages that are always the same."""
    path = chance.choice(("/get", "/headers", "/ip", "/user-agent", "/json", "/html", "/xml", "/uuid", "/gzip"))
    return Request(chance.choice(("GET", "GET", "GET", "HEAD")), path, path)


def nowhere(chance: Random) -> Request:
    """Ask for a path that no route matches: 404, without a route."""
    return Request("GET", chance.choice(("/nowhere", "/bytes/many", "/status")), None)


def not_allowed(chance: Random) -> Request:
    """Use a method that the path does not have: 405, without a route."""
    return Request(*chance.choice((("GET", "/post"), ("DELETE", "/get"), ("PUT", "/gzip"))), None)


EVERYDAY: Mix = (
    (22, fixed),
    (16, status),
    (10, echo),
    (8, redirect),
    (8, stream),
    (8, anything),
    (6, basic_auth),
    (6, sized),
    (4, bearer),
    (4, nowhere),
    (3, delay),
    (2, hidden_auth),
    (2, not_allowed),
    (1, bad_status),
)
READERS: Mix = ((70, fixed), (20, sized), (10, get("/image/png", "/image/png")))

CYCLE = (Phase("steady", 200, EVERYDAY), Phase("burst", 80, READERS, pace=4.0))
