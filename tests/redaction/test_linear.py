"""S2: a text ten times as long takes about ten times as long, whatever stands in it."""

from __future__ import annotations

import time

import pytest

from otel_forge.redaction import Policy

SMALL, LARGE = 100_000, 1_000_000
MOST_TIMES_SLOWER = 40
"""A quadratic rule is a hundred times slower."""

HOSTILE = (
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 _-.=: --password ",  # every letter of every sign
    "a",
    "1",
    "=",
    ":",
    "'",
    '"',
    "-",
    "\\",
    "İ",
    "password",
    "password=",
    'password="',
    'password="\\\\',
    "('password', '",
    "--password ",
    "<password>x</",
    "passphrase: a ",
    "secret_key_value_hash_",
    "session_id:::",
    "token: bearer ",
    "input_tokens=5 ",
    "input_tokens=['",
    "access_tokens=['a', ",
    "passwords: [",
    "passwords: ['a', 'b'], ",
    "'a', ",
    "secrets: a ",
    "authorization: ",
    "cookie=",
    "[parameters: \n",
    "Basic dXNlcjpwYXNz ",
    "bearer ",
    "eyJ",
    "eyJaaaaaaa.",
    "eyJaaaaaa.bbbbbbb.cccccc ",
    "://",
    "://a@",
    "://a:b",
    "?a=b&",
    "?a=b#",
    "?a=b;c",
    '?a=b"',
    "'?a=b'",
    '\\"?a=b',
    "<?a=b>",
    "-----BEGIN PRIVATE KEY-----",
    "-----BEGIN A B C D ",
    "4111 1111 1111 111 ",
    "4111-",
    "sk-",
    "sk-aaaaaaaaaaaaaaaaaaa-",
    "AKIA",
    "SG.aaaaaaaaaaaaaaaa.",
    "123456789:AA",
    "hooks.slack.com/services/a ",
    "SELECT '",
    "VALUES WHERE ",
    "/*",
    "--",
    "$a$",
    "E'\\'",
    "=:@_-.?'\"--</('",
)


def _seconds(unit: str, size: int, key: str) -> float:
    """Return the least CPU time of two that a text of `size` takes."""
    text = (unit * (size // len(unit) + 1))[:size]
    policy = Policy()
    policy.value(key, unit)
    least = float("inf")
    for _ in range(2):
        started = time.thread_time()
        policy.value(key, text)
        least = min(least, time.thread_time() - started)
    return least


@pytest.mark.parametrize("key", ["message", "db.query.text"])
@pytest.mark.parametrize("unit", HOSTILE)
def test_time_grows_with_the_length_of_a_hostile_text(unit: str, key: str) -> None:
    """The ratio of two times in one process does not depend on the machine."""
    assert _seconds(unit, LARGE, key) < MOST_TIMES_SLOWER * max(_seconds(unit, SMALL, key), 0.0002)


def test_a_text_with_too_many_places_to_look_at_is_cut() -> None:
    """Work on one text is bounded; what is not looked at does not leave."""
    policy = Policy()
    text = policy.text("password=hunter2 " * 20_000)
    assert "hunter2" not in text
    assert text.endswith("[REDACTED:excess]")
    assert len(text) < 200_000
