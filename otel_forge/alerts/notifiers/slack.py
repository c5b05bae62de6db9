"""Slack: an incoming webhook and Block Kit (https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks).

The texts of an alert are ``plain_text`` where that is enough, and ``verbatim`` elsewhere, with Slack's three special
characters escaped: no text of an alert can mention a channel, make a link or format anything.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from otel_forge.alerts.alert import Alert, worst_first
from otel_forge.alerts.notifiers.posting import body_of, host_of, post
from otel_forge.alerts.texts import counted, place, shortened, shown_time, shown_value, title

LONGEST_TEXT, LONGEST_HEADER, LONGEST_FIELD = 3000, 150, 2000
MOST_LISTED = 45
"""Alerts that one message names: it may have 50 blocks, and all their texts together some 13,000 characters."""

_LONGEST_LISTED = 120
_LONGEST_FALLBACK = 1000
_LONGEST_JSON = 2500
_LONGEST_ESCAPE = len("&amp;")
_MENTION = re.compile(r"@(?=channel|here|everyone|group)", re.IGNORECASE)
_ICONS = {
    "critical": ":rotating_light:",
    "high": ":red_circle:",
    "medium": ":large_orange_circle:",
    "low": ":large_yellow_circle:",
}
Block = dict[str, Any]


class Slack:
    """Tells the channel of an incoming webhook; the address is the secret."""

    name = "slack"

    def __init__(self, url: str) -> None:
        self._url = url
        self.place = f"Slack ({host_of(url)})"

    def messages(self, alerts: Sequence[Alert]) -> Sequence[dict[str, Any]]:
        """Return one message, whatever the number of alerts."""
        ordered = worst_first(list(alerts))
        return [_one(ordered[0]) if len(ordered) == 1 else _many(ordered)] if ordered else []

    def send(self, message: dict[str, Any], timeout: float) -> None:
        """Send a message. Raises Later or Refused."""
        reply = post(self._url, body_of(message), timeout)
        reply.check(reply.text if re.fullmatch(r"[a-z_]{1,60}", reply.text) else "")


def _one(alert: Alert) -> dict[str, Any]:
    text = " – ".join(filter(None, (title(alert), alert.summary, place(alert.origin))))
    blocks = [_header(f"{_icon(alert)} {title(alert)}")]
    if alert.summary:
        blocks.append({"type": "section", "text": _plain(alert.summary, LONGEST_TEXT)})
    fields = [_plain(f"{name}: {value}", LONGEST_FIELD) for name, value in _facts(alert) if value]
    blocks.append({"type": "section", "fields": fields})
    if alert.details:
        blocks.append({"type": "section", "text": _markup(f"```{_json(alert)}```")})
    if links := _links(alert):
        blocks.append(_context(_markup(links)))
    return _message(text, blocks)


def _many(alerts: Sequence[Alert]) -> dict[str, Any]:
    listed, rest = alerts[:MOST_LISTED], alerts[MOST_LISTED:]
    blocks = [_header(f"{_icon(alerts[0])} {counted(list(alerts))}")]
    for alert in listed:
        lines = (f"{_icon(alert)} {title(alert)}", shortened(alert.summary, _LONGEST_LISTED))
        blocks.append({"type": "section", "text": _plain("\n".join(filter(None, lines)), LONGEST_TEXT)})
    if rest:
        blocks.append(_context(_plain(f"… and {len(rest)} more", LONGEST_FIELD)))
    if where := place(alerts[0].origin):
        blocks.append(_context(_plain(where, LONGEST_FIELD)))
    names = ", ".join(alert.name for alert in listed)
    return _message(f"{counted(list(alerts))}: {names}", blocks)


def _message(text: str, blocks: list[Block]) -> dict[str, Any]:
    """Return a message; `text` is what notifications of Slack's apps show."""
    return {"text": _fitted(text, _LONGEST_FALLBACK), "mrkdwn": False, "blocks": blocks}


def _facts(alert: Alert) -> list[tuple[str, str]]:
    return [
        ("Severity", alert.severity),
        ("State", alert.state),
        ("Service", alert.origin.service),
        ("Environment", alert.origin.environment),
        ("Host", alert.origin.host),
        ("Value", shown_value(alert.value)),
        ("Since", shown_time(alert.started)),
        ("Until", shown_time(alert.ended)),
    ]


def _icon(alert: Alert) -> str:
    return _ICONS[alert.severity] if alert.is_firing else ":large_green_circle:"


def _links(alert: Alert) -> str:
    """Return the links in one line, those that fit: for one that is too long Slack would refuse everything."""
    shown = ""
    for name, url in alert.links.items():
        longer = f"{shown}{' · ' if shown else ''}<{url}|{escape(name)}>"
        shown = longer if len(longer) <= LONGEST_FIELD else shown
    return shown


def _json(alert: Alert) -> str:
    """Return the details as JSON, as many of them as fit, safe inside of a code block."""
    details = dict(alert.details)
    while True:
        text = escape(json.dumps(details, indent=1, ensure_ascii=False).replace("`", "ˋ"))
        if len(text) <= _LONGEST_JSON or not details:
            return text
        details.popitem()


def _header(text: str) -> Block:
    return {"type": "header", "text": _plain(text, LONGEST_HEADER)}


def _context(element: Block) -> Block:
    return {"type": "context", "elements": [element]}


def _plain(text: str, longest: int) -> Block:
    return {"type": "plain_text", "text": _fitted(text, longest), "emoji": True}


def _markup(text: str) -> Block:
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _fitted(text: str, longest: int) -> str:
    """Return `text` escaped, of `longest` characters at the most, without cutting an escape in two."""
    kept = text
    while (excess := len(escape(kept)) - longest) > 0:
        kept = shortened(kept, max(1, len(kept) - max(1, excess // _LONGEST_ESCAPE)))
    return escape(kept)


def escape(text: str) -> str:
    """Return `text` with Slack's special characters escaped, and without mentions of everybody."""
    text = _MENTION.sub("@\u200b", text)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
