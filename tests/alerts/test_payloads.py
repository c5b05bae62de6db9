"""A5: what Slack, PagerDuty, mailboxes and webhooks are sent, byte by byte, and what can never be in it."""

from __future__ import annotations

import email
import html
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from email.message import EmailMessage
from email.policy import default
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_forge.alerts.alert import SEVERITIES, Alert, Origin, worst_first
from otel_forge.alerts.notifiers.mail import Email
from otel_forge.alerts.notifiers.pagerduty import MOST_INCIDENTS, PagerDuty
from otel_forge.alerts.notifiers.slack import Slack
from otel_forge.alerts.notifiers.webhook import MOST_ALERTS, Webhook
from otel_forge.alerts.texts import presentable
from tests.alerts.receivers import ROUTING_KEY, check_blocks, event_errors
from tests.alerts.samples import CASES, HOSTILE, NEEDLES, NOW
from tests.corpus import secrets

pytestmark = pytest.mark.gate

GOLDEN = Path(__file__).with_name("golden")
SLACK = Slack("https://hooks.slack.test/services/T/B/X")
PAGERDUTY = PagerDuty(ROUTING_KEY, "https://events.pagerduty.test/v2/enqueue")
EMAIL = Email("smtp://mail.test", "alerts@example.com", ["ops@example.com", "boss@example.com"], wall=lambda: NOW)
WEBHOOK = Webhook("https://hooks.test/alerts")


def slack_text(alerts: Sequence[Alert]) -> str:
    return json.dumps(SLACK.messages(alerts), indent=1, ensure_ascii=False)


def pagerduty_text(alerts: Sequence[Alert]) -> str:
    pager = PagerDuty(ROUTING_KEY, "https://events.pagerduty.test/v2/enqueue")  # which remembers for whom it stands
    return json.dumps(pager.messages(alerts), indent=1, ensure_ascii=False)


def webhook_text(alerts: Sequence[Alert]) -> str:
    documents = [document for _, document in WEBHOOK.messages(alerts)]
    if len(documents) > 1:  # of several parts the first and the last alert
        documents = [{**document, "alerts": document["alerts"][:: MOST_ALERTS - 1]} for document in documents]
    return json.dumps(documents, indent=1, ensure_ascii=False)


def email_text(alerts: Sequence[Alert]) -> str:
    return "\n".join(message.as_string() for message in EMAIL.messages(alerts))


MEDIA: dict[str, Callable[[Sequence[Alert]], str]] = {
    "slack": slack_text,
    "pagerduty": pagerduty_text,
    "webhook": webhook_text,
    "email": email_text,
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("medium", MEDIA)
def test_the_payload_is_the_golden_one(medium: str, case: str) -> None:
    """A5: firing, still firing, resolved, hostile, 50 and 500 alerts. OTEL_FORGE_WRITE_GOLDEN=1 writes the files."""
    text = MEDIA[medium](CASES[case])
    file = GOLDEN / f"{medium}-{case}.{'eml' if medium == 'email' else 'json'}"
    if os.environ.get("OTEL_FORGE_WRITE_GOLDEN"):
        file.write_bytes(text.encode("utf-8"))
    assert text == file.read_bytes().decode("utf-8")


@pytest.mark.parametrize("case", CASES)
def test_slack_takes_every_message(case: str) -> None:
    """A5: at most 50 blocks, 3,000 characters a text, 150 a header, 13,000 in all."""
    for message in SLACK.messages(CASES[case]):
        check_blocks(message["blocks"])
        assert 0 < len(message["text"]) <= 1000


@pytest.mark.parametrize("case", CASES)
def test_pagerduty_takes_every_event(case: str) -> None:
    """A5: the required fields, a summary of 1,024 characters, 512 kB; and no more incidents than a phone can ring."""
    events = PAGERDUTY.messages(CASES[case])
    for event in events:
        sent = {"routing_key": ROUTING_KEY, **event}
        assert list(event_errors(sent, len(json.dumps(sent)))) == []
    assert sum(event["event_action"] == "trigger" for event in events) <= MOST_INCIDENTS + 1


def test_the_incident_that_stands_for_many_is_open_as_long_as_one_of_them_fires() -> None:
    """Whether they end together or one by one; what resolves it is the key that opened it."""
    pager = PagerDuty(ROUTING_KEY, "https://events.pagerduty.test/v2/enqueue")
    firing = [Alert(f"Queue {number:02d}", "high") for number in range(MOST_INCIDENTS + 2)]
    over = [replace(alert, state="resolved") for alert in firing]
    opened = pager.messages(firing)[-1]["dedup_key"]
    assert opened not in {alert.key for alert in firing}
    keys = [[event["dedup_key"] for event in pager.messages(some)] for some in (over[:-1], over[-1:], over[:1])]
    assert [opened in some for some in keys] == [False, True, False]
    pager.messages(firing)
    assert pager.messages(over)[-1] == {"event_action": "resolve", "dedup_key": opened}


def test_the_same_alert_has_the_same_key_when_it_fires_and_when_it_is_resolved() -> None:
    """So PagerDuty closes the incident that was opened; another host's is another one."""
    [opened], [closed] = (PAGERDUTY.messages(CASES[case]) for case in ("firing", "resolved"))
    assert opened["dedup_key"] == closed["dedup_key"]
    other = Alert("High Error Rate", "high", origin=Origin("asset-forge-api", "production", "web-2"))
    assert other.key != opened["dedup_key"]


def test_slack_gets_those_links_that_fit() -> None:
    """A5: for a text that is too long it would refuse the whole alert."""
    links = {
        "Long": f"https://example.com/{'a' * 1900}",
        "Longer": f"https://example.com/{'b' * 1900}",
        "Short": "https://example.com/",
    }
    [message] = SLACK.messages([presentable(Alert("Queue", "high", links=links))])
    check_blocks(message["blocks"])
    [shown] = mrkdwn(message)
    assert shown == f"<{links['Long']}|Long> · <{links['Short']}|Short>"


def test_slack_shows_as_much_as_fits_of_a_text_that_grows_by_escaping() -> None:
    """And not only the mark of what was cut."""
    [message] = SLACK.messages([presentable(Alert("&" * 90, "high", "<" * 1000))])
    check_blocks(message["blocks"])
    header, summary = (message["blocks"][number]["text"]["text"] for number in (0, 1))
    assert header.startswith(":red_circle: FIRING &amp;&amp;") and len(header) > 140
    assert summary.startswith("&lt;&lt;") and len(summary) > 2990


def parsed(alerts: Sequence[Alert]) -> EmailMessage:
    [message] = EMAIL.messages(alerts)
    found = email.message_from_string(message.as_string(), policy=default)
    assert isinstance(found, EmailMessage)
    return found


def part(message: EmailMessage, kind: str) -> str:
    body = message.get_body((kind,))
    assert body is not None
    return str(body.get_content())


class Tags(HTMLParser):
    """Collects which elements and attributes there are."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.add(tag)
        self.links += [value or "" for name, value in attrs if name == "href"]
        assert {name for name, _ in attrs} <= {"style", "href"}


@pytest.mark.parametrize("case", CASES)
def test_a_mail_has_a_subject_of_one_line_and_two_parts_that_say_the_same(case: str) -> None:
    """A5: plain text and HTML; no header comes out of an alert."""
    message = parsed(CASES[case])
    assert len(str(message["Subject"])) <= 200
    assert set(message.keys()) <= {
        "Subject", "From", "To", "Date", "Message-ID", "References", "Auto-Submitted", "X-Auto-Response-Suppress",
        "MIME-Version", "Content-Type",
    }  # fmt: skip
    tags = Tags()
    tags.feed(part(message, "html"))
    assert tags.found <= {"html", "body", "h2", "div", "b", "br", "table", "tr", "td", "p", "a"}
    assert all(link.startswith("https://") for link in tags.links)
    worst = worst_first(CASES[case])[0]
    assert worst.name in part(message, "plain")
    assert worst.name in html.unescape(part(message, "html"))


def mrkdwn(found: Any) -> Iterator[str]:
    """Yield the texts that Slack takes for markup."""
    if isinstance(found, dict) and found.get("type") == "mrkdwn":
        yield found["text"]
    elif isinstance(found, (dict, list)):
        for part in found.values() if isinstance(found, dict) else found:
            yield from mrkdwn(part)


@pytest.mark.parametrize("medium", MEDIA)
def test_nothing_hostile_is_left_of_a_hostile_alert(medium: str) -> None:
    """A5: no secret, no mention, no markup, no control character, no text that turns its direction, nothing endless."""
    made = MEDIA[medium](CASES["hostile"])
    texts = [part(parsed(CASES["hostile"]), kind) for kind in ("plain", "html")] if medium == "email" else [made]
    for text in texts:
        assert [needle for needle in NEEDLES if needle in text] == []
        assert re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]", text) is None
        assert len(text) < 40_000
    if medium == "slack":
        assert "<!" not in made and "<@" not in made and "<script" not in made
        assert re.search("@(channel|here|everyone)", made) is None
        marked = [text for text in mrkdwn(json.loads(made)) if "`" in text]
        assert len(marked) == 1 and marked[0][3:-3].count("`") == 0
    if medium == "email":
        assert "<script" not in texts[1]
        assert "everybody@example.com" not in str(parsed(CASES["hostile"]).get("Bcc", ""))


def test_presenting_again_changes_nothing() -> None:
    """What one process has prepared another may deliver."""
    once = presentable(HOSTILE)
    assert presentable(once) == once


@pytest.mark.parametrize("medium", MEDIA)
def test_no_secret_of_the_corpus_is_in_a_payload(medium: str) -> None:
    """S1: in summary and details, alone and nested."""
    for start in range(0, len(corpus := secrets(5)), 8):
        some = corpus[start : start + 8]
        details = {secret.name: secret.text for secret in some} | {
            "values": {secret.key: secret.value for secret in some if secret.key}
        }
        alert = presentable(Alert("Leaks", "high", some[0].text, details=details))
        text = MEDIA[medium]([alert])
        if medium == "email":
            text += "".join(part(parsed([alert]), kind) for kind in ("plain", "html"))
        assert [secret.name for secret in some if secret.needle in text] == []


hostile_text = st.text(st.characters(codec=None), max_size=200) | st.sampled_from(["<!channel>", "```", "&" * 200])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.builds(
            Alert,
            name=hostile_text.filter(bool),
            severity=st.sampled_from(SEVERITIES),
            summary=hostile_text,
            state=st.sampled_from(("firing", "resolved")),
            value=st.none() | st.floats(),
            details=st.dictionaries(hostile_text, st.none() | hostile_text | st.floats() | st.binary(max_size=20)),
            links=st.dictionaries(
                hostile_text, st.integers(0, 1950).map(lambda long: f"https://x.test/{'a&' * (long // 2)}")
            ),
            started=st.floats(0, 4e9),
            origin=st.builds(Origin, hostile_text, hostile_text, hostile_text),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_whatever_is_in_an_alert_every_service_takes_it(alerts: list[Alert]) -> None:
    """A5: random texts, lone surrogates included, make payloads within all limits."""
    shown = [presentable(alert) for alert in alerts]
    for message in SLACK.messages(shown):
        check_blocks(message["blocks"])
        json.dumps(message, ensure_ascii=False).encode()
    for event in PAGERDUTY.messages(shown):
        assert list(event_errors({"routing_key": ROUTING_KEY, **event}, 0)) == []
    for _, document in WEBHOOK.messages(shown):
        json.dumps(document, allow_nan=False, ensure_ascii=False).encode()
    mail = parsed(shown)
    assert part(mail, "plain") and part(mail, "html")
