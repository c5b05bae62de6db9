"""The words of a mail: subject, plain text, HTML. Nothing of an alert is markup in it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape

from otel_forge.alerts.alert import Alert
from otel_forge.alerts.texts import counted, place, shortened, shown_time, shown_value, title

LONGEST_SUBJECT = 200
MOST_LISTED = 100
_MOST_IN_FULL = 10
"""Alerts that are told with all that is known of them."""

_COLOURS = {"critical": "#b71c1c", "high": "#d84315", "medium": "#ef6c00", "low": "#f9a825"}
_RESOLVED = "#2e7d32"
_LABELS = ("Severity", "State", "Value", "Since", "Until")


def subject_of(alerts: Sequence[Alert]) -> str:
    """Return one line: what, how bad, where."""
    what = title(alerts[0]) if len(alerts) == 1 else counted(list(alerts))
    where = alerts[0].origin.service or "otel-forge"
    return shortened(f"[{where}] {what}", LONGEST_SUBJECT)


def text_of(alerts: Sequence[Alert]) -> str:
    """Return the plain part."""
    parts = [counted(list(alerts))] if len(alerts) > 1 else []
    for alert in alerts[:MOST_LISTED]:
        facts = _facts(alert) if len(alerts) <= _MOST_IN_FULL else []
        parts.append("\n".join([title(alert), *filter(None, [alert.summary]), *(f"  {a}: {b}" for a, b in facts)]))
    return "\n\n".join([*parts, *_rest(alerts), f"-- \n{_footer(alerts)}"]) + "\n"


def html_of(alerts: Sequence[Alert]) -> str:
    """Return the HTML part: tables and inline styles, as mail programs want it; nothing is loaded from anywhere."""
    head = [f"<h2>{escape(counted(list(alerts)))}</h2>"] if len(alerts) > 1 else []
    in_full = len(alerts) <= _MOST_IN_FULL
    body = [_panel(alert, in_full) for alert in alerts[:MOST_LISTED]]
    rest = [f"<p>{escape(text)}</p>" for text in _rest(alerts)]
    footer = f'<p style="color:#757575;font-size:12px">{escape(_footer(alerts))}</p>'
    style = "font-family:sans-serif;font-size:14px;color:#212121"
    content = "\n".join([*head, *body, *rest, footer])
    return f'<!doctype html>\n<html><body style="{style}">\n{content}\n</body></html>\n'


def _panel(alert: Alert, in_full: bool) -> str:
    colour = _COLOURS[alert.severity] if alert.is_firing else _RESOLVED
    rows = "".join(_row(name, value, alert) for name, value in (_facts(alert) if in_full else []))
    table = f"\n<table>{rows}</table>" if rows else ""
    summary = f"<br>{escape(alert.summary)}" if alert.summary else ""
    return (
        f'<div style="border-left:6px solid {colour};padding:4px 12px;margin:8px 0">'
        f"<b>{escape(title(alert))}</b>{summary}{table}</div>"
    )


def _row(name: str, value: str, alert: Alert) -> str:
    shown = escape(value)
    if name in alert.links and alert.links[name] == value:
        shown = f'<a href="{shown}">{shown}</a>'
    return f'<tr><td style="color:#757575;padding-right:12px">{escape(name)}</td><td>{shown}</td></tr>'


def _facts(alert: Alert) -> list[tuple[str, str]]:
    values = (
        alert.severity,
        alert.state,
        shown_value(alert.value),
        shown_time(alert.started),
        shown_time(alert.ended),
    )
    known = [(name, value) for name, value in zip(_LABELS, values, strict=True) if value]
    details = [(name, _detail(value)) for name, value in alert.details.items()]
    return [*known, *details, *alert.links.items()]


def _detail(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _rest(alerts: Sequence[Alert]) -> list[str]:
    return [f"… and {len(alerts) - MOST_LISTED} more"] if len(alerts) > MOST_LISTED else []


def _footer(alerts: Sequence[Alert]) -> str:
    where = place(alerts[0].origin)
    return f"Sent by the alert rules inside of {where}." if where else "Sent by otel-forge."
