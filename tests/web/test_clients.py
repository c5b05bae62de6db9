"""What is said of clients: a network and a kind of program, never more than was asked for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_forge.web.client_addresses import truncated, whole
from otel_forge.web.user_agents import user_agent_class

CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
GOOGLEBOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("203.0.113.77", "203.0.113.0"),
        ("127.0.0.1", "127.0.0.0"),
        ("2001:db8:1234:5678:9abc::1", "2001:db8:1234::"),
        ("::1", "::"),
        ("::ffff:203.0.113.77", "203.0.113.0"),
        ("fe80::1%eth0", "fe80::"),
        ("", None),
        ("/run/app.sock", None),
        ("203.0.113.77\r\nforged", None),
        ("1.2.3.4, 5.6.7.8", None),
        ("not an address", None),
    ],
)
def test_an_address_loses_what_tells_people_apart(address: str, shown: str | None) -> None:
    """24 bits of IPv4 and 48 of IPv6 stay; what is no address is not shown at all."""
    assert truncated(address) == truncated(address) == shown


def test_a_whole_address_is_one() -> None:
    """A header that a proxy passes on may hold anything."""
    assert whole("203.0.113.77") == "203.0.113.77"
    assert whole("::ffff:203.0.113.77") == "203.0.113.77"
    assert whole("unknown") is None
    assert whole("fe80::1%what a client has made up") == "fe80::1"


@given(st.ip_addresses())
def test_every_address_becomes_that_of_its_network(address: object) -> None:
    """And never that of another."""
    shown = truncated(str(address))
    assert shown is not None and truncated(shown) == shown


@pytest.mark.parametrize(
    ("agent", "kind"),
    [
        (CHROME, "browser"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 15.6; rv:143.0) Gecko/20100101 Firefox/143.0", "browser"),
        (GOOGLEBOT, "bot"),
        ("Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2)", "bot"),
        ("Mozilla/5.0 HeadlessChrome/140.0.0.0 Safari/537.36", "bot"),
        ("curl/8.16.0", "tool"),
        ("python-requests/2.32.5", "tool"),
        ("Go-http-client/1.1", "tool"),
        ("Werkzeug/3.1.9", "tool"),
        ("kube-probe/1.34", "monitor"),
        ("ELB-HealthChecker/2.0", "monitor"),
        ("Prometheus/3.6.0", "monitor"),
        ("Robotics Weekly Reader", "other"),
        ("\x1b[31mred\r\n", "other"),
        ("x" * 100_000, "other"),
        ("", "none"),
        (None, "none"),
    ],
)
def test_a_program_is_a_word_from_a_short_list(agent: str | None, kind: str) -> None:
    """Whatever it calls itself."""
    assert user_agent_class(agent) == user_agent_class(agent) == kind


@given(st.text(max_size=600))
def test_no_user_agent_gets_into_its_class(agent: str) -> None:
    """So the class may be a label."""
    assert user_agent_class(agent) in {"browser", "bot", "tool", "monitor", "other", "none"}
