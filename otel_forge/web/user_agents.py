"""What kind of program a client is, by what it calls itself: a word from a short list, never its own text."""

from __future__ import annotations

import re
from typing import Any

from otel_forge.instruments.bounded import Bounded

NONE, OTHER = "none", "other"
"""The client says nothing; it says something that is none of the kinds below."""

_KINDS = (
    ("monitor", r"kube-probe|healthcheck|googlehc|prometheus|blackbox|uptimerobot|pingdom|statuscake|site24x7|datadog"),
    ("bot", r"bot\b|bot[/-]|crawl|spider|slurp|facebookexternalhit|bingpreview|headlesschrome|lighthouse"),
    ("browser", r"^mozilla/.*(?:chrome|safari|firefox|edg|gecko|trident)|^opera/"),
    (
        "tool",
        r"^(?:curl|wget|python|aiohttp|httpx|go-http-client|java|okhttp|apache-httpclient|axios|node|undici|got|ruby|"
        r"faraday|php|guzzle|libwww|lwp|postman|insomnia|httpie|k6|jmeter|wrk|ab|dart|reqwest|hyper|werkzeug)\b",
    ),
)
_PATTERNS = [(kind, re.compile(pattern, re.IGNORECASE)) for kind, pattern in _KINDS]
_MOST, _LONGEST = 1024, 512
_known = Bounded(_MOST)


def user_agent_class(agent: str | None) -> str:
    """Return monitor, bot, browser, tool, other or none."""
    if not agent:
        return NONE
    known: Any = _known.get(agent)
    if known is not None:
        return str(known)
    kind = next((kind for kind, pattern in _PATTERNS if pattern.search(agent[:_LONGEST])), OTHER)
    if len(agent) <= _LONGEST:
        _known.keep(agent, kind)
    return kind
