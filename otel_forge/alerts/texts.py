"""The words of an alert as they may leave: without secrets, in single lines, no longer than anybody wants to read.

Rules put into an alert what they find, and that may come from a request. So every text is redacted first, then what
could end a line, steer a terminal or turn the direction of text is written as an escape, then it is cut. What each
medium needs besides (HTML, Slack's markup) is that notifier's own business.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from otel_forge.alerts.alert import Alert, Origin
from otel_forge.logs.escaping import escaped
from otel_forge.logs.values import cut, plain_fields
from otel_forge.redaction import policy

LONGEST_SUMMARY, LONGEST_NAME, LONGEST_DETAIL, LONGEST_LINK = 1000, 100, 500, 2000
MOST_DETAILS, MOST_LINKS = 20, 5
_LONGEST_RAW = 65_536


def presentable(alert: Alert) -> Alert:
    """Return `alert` as people may see it; doing so again changes nothing. Never raises."""
    return replace(
        alert,
        name=line(alert.name, LONGEST_NAME) or "alert",
        summary=line(alert.summary, LONGEST_SUMMARY),
        value=finite(alert.value),
        details=_details(alert.details),
        links=_links(alert.links),
        origin=_origin(alert.origin),
    )


def _origin(origin: Origin) -> Origin:
    service, environment, host = origin.service, origin.environment, origin.host
    return Origin(line(service, LONGEST_NAME), line(environment, LONGEST_NAME), line(host, LONGEST_NAME))


def line(text: Any, longest: int) -> str:
    """Return any text as one line without secrets, of `longest` characters at the most."""
    plain = text if type(text) is str else str(next(iter(plain_fields({"text": text}).values())))
    one_line = escaped(" ".join(policy().text(cut(plain, _LONGEST_RAW)).split()))
    return shortened(one_line, longest)


def shortened(text: str, longest: int) -> str:
    """Return `text`, or its beginning with a mark, of `longest` characters at the most."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _details(details: Mapping[str, Any]) -> dict[str, Any]:
    """Return details one level deep; what was deeper is JSON."""
    plain = policy().mapping(plain_fields(details, _LONGEST_RAW))
    shown = {line(key, LONGEST_NAME): _detail(value) for key, value in list(plain.items())[:MOST_DETAILS]}
    if len(plain) > MOST_DETAILS:
        shown["…"] = f"{len(plain) - MOST_DETAILS} more"
    return shown


def _detail(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float)):
        return value
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(", ", ": "))
    return line(text, LONGEST_DETAIL)


def _links(links: Mapping[str, str]) -> dict[str, str]:
    shown = {line(title, LONGEST_NAME): link(address) for title, address in list(links.items())[:MOST_LINKS]}
    return {title: address for title, address in shown.items() if address}


def link(address: str) -> str:
    """Return an http(s) address without secrets in path or query; empty if it is none, or too long."""
    try:
        parts = urlsplit(str(address))
        if parts.scheme not in ("http", "https") or not parts.hostname:
            return ""
        pairs = [(key, policy().value(key, value)) for key, value in parse_qsl(parts.query, keep_blank_values=True)]
        host = parts.netloc.rpartition("@")[2]
        path = quote(policy().text(parts.path), safe="/%:@!$&'()*+,;=~[]-._")
        shown = urlunsplit((parts.scheme, host, path, urlencode(pairs), quote(parts.fragment, safe="/?%:@!$&=~-._")))
    except ValueError:
        return ""
    return shown if len(shown) <= LONGEST_LINK and not re.search(r"[\s<>\"\\|]", shown) else ""


def finite(value: Any) -> float | None:
    """Return a number as it is; None for what is none, has no end or is beyond all floats."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return value if math.isfinite(value) else None
    except OverflowError:
        return None


def shown_value(value: float | None) -> str:
    """Return a number as a person reads it; empty for none."""
    return "" if value is None else f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}"


def shown_time(seconds: float) -> str:
    """Return seconds since 1970 as ISO 8601 in UTC, without fractions; empty for 0 and for what is no time."""
    try:
        return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ") if seconds else ""
    except (ValueError, OverflowError, OSError):
        return ""


def title(alert: Alert) -> str:
    """Return what an alert is called in a line: ``FIRING High Error Rate (high)``."""
    word = "STILL FIRING" if alert.repeated else alert.state.upper()
    return f"{word} {alert.name} ({alert.severity})"


def place(origin: Origin) -> str:
    """Return where an alert comes from: ``shop, production, on web-1``."""
    return ", ".join(filter(None, (origin.service, origin.environment, origin.host and f"on {origin.host}")))


def counted(alerts: list[Alert]) -> str:
    """Return what several alerts are called in a line: ``3 alerts firing, 1 resolved``."""
    firing = sum(alert.is_firing for alert in alerts)
    parts = [f"{number} {word}" for number, word in ((firing, "firing"), (len(alerts) - firing, "resolved")) if number]
    return f"{len(alerts)} alerts: {', '.join(parts)}"
