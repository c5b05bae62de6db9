"""What a client is told of rate limits: headers, and the answer to a request that was one too many.

The headers are those of draft-ietf-httpapi-ratelimit-headers-11 (structured fields, one item for each limit):
``RateLimit-Policy: "100 per 15 minute";q=100;w=900`` and ``RateLimit: "100 per 15 minute";r=0;t=42``. The draft's
partition key (``pk``) is left out: it would say by what the client was told apart.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from math import ceil
from typing import Any

import flask
from flask import Response
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException

from otel_forge.web.boundary import PROBLEM_JSON, wants_html
from otel_forge.web.decisions import Decided, OfRequest, tightest

STATUS = 429
QUOTA_EXCEEDED = "https://iana.org/assignments/http-problem-types#quota-exceeded"
"""The type of the problem, by section "Problem Types" of the draft."""

_POLICY, _STATE, _RETRY_AFTER = "RateLimit-Policy", "RateLimit", "Retry-After"


def add_headers(response: Response, decided: Collection[Decided]) -> None:
    """Tell the client how it stands with each limit; headers that the application has set stay.

    Of limits with the same name the tightest is told: in the headers names are unique.
    """
    decided = _by_name(decided)
    policies = [
        f"{_quoted(one.name)};q={one.limit}" + (f";w={one.window}" if one.window else "")
        for one in decided
        if one.limit is not None
    ]
    states = [
        f"{_quoted(one.name)};r={max(one.remaining, 0)}" + ("" if one.reset is None else f";t={_seconds(one.reset)}")
        for one in decided
        if one.remaining is not None
    ]
    for name, items in ((_POLICY, policies), (_STATE, states)):
        if items and name not in response.headers:
            response.headers[name] = ", ".join(items)
    retry = retry_after(decided)
    if response.status_code == STATUS and retry is not None and _RETRY_AFTER not in response.headers:
        response.headers[_RETRY_AFTER] = str(retry)


def _by_name(decided: Iterable[Decided]) -> list[Decided]:
    found: dict[str, Decided] = {}
    for one in decided:
        found[one.name] = tightest((found[one.name], one)) if one.name in found else one
    return list(found.values())


def retry_after(decided: Collection[Decided]) -> int | None:
    """Return after how many seconds another attempt makes sense: when the last limit that was exceeded is back."""
    waits = [one.reset for one in decided if one.decision == "exceeded" and one.reset is not None]
    return max(1, *map(_seconds, waits)) if waits else None


def refusal(error: HTTPException, known: OfRequest) -> ResponseReturnValue:
    """Return the answer to a request that exceeds a limit.

    It is JSON (RFC 9457) for all who do not prefer HTML. What the application itself has to say goes first: a response
    that its limiter was given, a handler of its own for HTTP errors; so does its wording (``error_message``).
    """
    exceeded = [one for one in _by_name(known.by_limit.values()) if one.decision == "exceeded"]
    if not exceeded or error.response is not None:
        return error
    handler = _handler_of_application(error)
    if handler is not None:
        return flask.current_app.ensure_sync(handler)(error)  # type: ignore[no-any-return]
    if wants_html():
        return error
    problem = {
        "type": QUOTA_EXCEEDED,
        "title": "Too Many Requests",
        "status": STATUS,
        "detail": _detail(error, retry_after(exceeded)),
        "violated-policies": [one.name for one in exceeded],
    }
    return Response(json.dumps(problem) + "\n", STATUS, {"Cache-Control": "no-store"}, content_type=PROBLEM_JSON)


def _detail(error: HTTPException, seconds: int | None) -> str:
    if getattr(getattr(error, "limit", None), "error_message", None) and error.description:
        return str(error.description)
    return "Too many requests." if seconds is None else f"Too many requests; try again in {seconds} s."


def _handler_of_application(error: HTTPException) -> Any:
    """Return the application's handler for HTTP errors of any status, which ours for 429 would hide."""
    app = flask.current_app
    for name in (*flask.request.blueprints, None):
        handlers = app.error_handler_spec[name][None]
        for kind in type(error).__mro__:
            if kind in handlers:
                return handlers[kind]
    return None


def _seconds(reset: float) -> int:
    return max(ceil(reset), 0)


def _quoted(name: str) -> str:
    """Return `name` as a string of structured fields (RFC 9651), which are printable ASCII."""
    plain = "".join(character if " " <= character <= "~" else "?" for character in name)
    return '"' + plain.replace("\\", "\\\\").replace('"', '\\"') + '"'
