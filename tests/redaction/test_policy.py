"""What the policy makes of single values, and what can be added and allowed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import Any

import pytest

from otel_forge import redaction
from otel_forge.redaction import Policy, build_policy
from otel_forge.settings import Settings


def _policy(**environ: str) -> Policy:
    settings = Settings.from_env({f"OTEL_FORGE_REDACTION{name}": value for name, value in environ.items()})
    assert settings.problems == ()
    return build_policy(settings.redaction)


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("login failed password=hunter2, user=bob", "login failed password=[REDACTED:password], user=bob"),
        ("GET /a?token=abc&page=2 HTTP/1.1", "GET /a?token=[REDACTED:token]&page=[REDACTED:query-value] HTTP/1.1"),
        ("postgres://app:s3cret@db:5432/x", "postgres://[REDACTED:url-credentials]@db:5432/x"),
        ("Authorization: Basic dXNlcjpwYXNz", "Authorization: [REDACTED:authorization]"),
        ("card 4111 1111 1111 1111 ok", "card [REDACTED:card] ok"),
        ("card 4111 1111 1111 1112 ok", "card 4111 1111 1111 1112 ok"),
        ("run --db-password hunter2 -v", "run --db-password [REDACTED:password] -v"),
        ("INSERT INTO t VALUES ('alice', 7)", "INSERT INTO t VALUES ('?', 7)"),
        ('{"password": "a\\"b", "x": 1}', '{"password": "[REDACTED:password]", "x": 1}'),
        ("    token = read_token(request)", "    token = read_token(request)"),
        ("input_tokens=5, author: Jane", "input_tokens=5, author: Jane"),
    ],
)
def test_texts(text: str, redacted: str) -> None:
    """Each replacement says the class of what stood there, and the rest stays."""
    assert Policy().text(text) == redacted


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("user.password", "x", "[REDACTED:password]"),
        ("clientSecret", b"x", "[REDACTED:secret]"),
        ("api_key", 12345, "[REDACTED:api-key]"),
        ("apiKeys", ("a", "b"), ("[REDACTED:api-key]", "[REDACTED:api-key]")),
        ("passwords", ["a"], ["[REDACTED:password]"]),
        ("access_tokens", "a", "[REDACTED:token]"),
        ("input_tokens", 7, 7),
        ("token", None, None),
        ("has_token", True, True),
        ("password", "", ""),
        ("session.id", "abc", "[REDACTED:session-id]"),
        ("http.request.header.x-tenant", ("a",), ("[REDACTED:header]",)),
        ("http.request.header.accept", ("text/html",), ("text/html",)),
        ("http.request.header.cookie", ["a=b"], ["[REDACTED:cookie]"]),
        ("url.query", "page=2&flag", "page=[REDACTED:query-value]&flag"),
        (
            "url.full",
            "https://u:p@h/a?to=a@b.c#access_token=1",
            "https://[REDACTED:url-credentials]@h/a?to=[REDACTED:email]#access_token=[REDACTED:token]",
        ),
        ("db.query.parameter.0", "x", "[REDACTED:db-parameter]"),
        ("process.command_args", ("app", "--token", "abc", "-v"), ("app", "--token", "[REDACTED:token]", "-v")),
        ("card", 4111111111111111, "[REDACTED:card]"),
        ("count", 4111111111111112, 4111111111111112),
        ("data", {"password": {"deep": "x"}}, {"password": {"deep": "[REDACTED:password]"}}),
    ],
)
def test_values_under_keys(key: str, value: Any, allowed: Any) -> None:
    """The key says what a value is; containers keep their shape."""
    assert Policy().value(key, value) == allowed


@pytest.mark.parametrize(
    ("statement", "allowed"),
    [
        ("SELECT * FROM t WHERE a = 'x''y' AND n = 5", "SELECT * FROM t WHERE a = ? AND n = ?"),
        ('SELECT "t"."a" FROM "t" WHERE "b" = "x"', 'SELECT "t"."a" FROM "t" WHERE "b" = ?'),
        ('INSERT INTO "t" ("a") VALUES ("x", \'y\')', 'INSERT INTO "t" ("a") VALUES (?, ?)'),
        ("SELECT 1 /* traceparent='00-1-2-01' */", "SELECT ? /* traceparent='00-1-2-01' */"),
        ("SELECT a FROM t1 WHERE b = $1 AND c = :c AND d = %(d)s", None),
        ("SELECT $$it's$$, E'a\\'b', 'secret'", "SELECT ?, ?"),
        ("SELECT x'00ff', N'text', 0xFF, 1.5e-3", "SELECT ?, ?, ?, ?"),
        ("SELECT 'never closed", "SELECT ?"),
    ],
)
def test_statements(statement: str, allowed: str | None) -> None:
    """Literals become question marks; names, parameters and comments stay."""
    assert Policy().sql(statement) == (statement if allowed is None else allowed)


def test_what_does_not_change_is_the_same_object() -> None:
    """Callers keep what they made of a value only if it did not change."""
    value = {"a": ["text", 1, {"b": (2.0, None)}]}
    assert Policy().value("data", value) is value


def test_replacements_are_counted_by_class() -> None:
    """Each value counts once, however many rules it would match."""
    policy = Policy()
    policy.text("password=a token=b1 password: c1")
    policy.value("api_key", "x")
    assert policy.counts == {"password": 2, "token": 1, "api-key": 1}


def test_redaction_can_be_turned_off() -> None:
    """Then everything passes as it is."""
    policy = _policy(**{"": "false"})
    assert not policy.enabled
    assert policy.text("password=hunter2") == "password=hunter2"
    assert policy.value("password", "hunter2") == "hunter2"
    assert policy.sql("SELECT 'a'") == "SELECT 'a'"


def test_users_add_keys_and_patterns() -> None:
    """Keys take wildcards; a pattern's name is its class."""
    policy = _policy(_KEYS="tenant_code,*_badge", _PATTERNS=r"badge=BDG-\d{6};ticket=T[0-9]{3}")
    assert policy.value("blue_Badge", "x") == "[REDACTED:custom-key]"
    assert policy.value("tenant_code", "x") == "[REDACTED:custom-key]"
    assert policy.text("has BDG-123456 and T123") == "has [REDACTED:badge] and [REDACTED:ticket]"
    assert policy.text("T123") == "[REDACTED:ticket]"  # however short


def test_users_allow_keys_headers_and_query_keys() -> None:
    """What is allowed is still searched for secrets that can be told by their looks."""
    policy = _policy(_ALLOW_KEYS="session.id", _ALLOW_HEADERS="X-Tenant", _ALLOW_QUERY="page")
    assert policy.value("session.id", "abc") == "abc"
    assert policy.value("http.request.header.x-tenant", ("a",)) == ("a",)
    assert policy.query("page=2&q=x") == "page=2&q=[REDACTED:query-value]"
    assert policy.query("page=4111111111111111") == "page=[REDACTED:card]"


def shout(key: str, value: str) -> str | None:
    """A callback as a user would write it."""
    return value.upper() if key == "motto" else None


def test_users_set_a_callback() -> None:
    """It sees key and text, and None leaves the text."""
    policy = _policy(_CALLBACK="tests.redaction.test_policy:shout")
    assert policy.value("motto", "be bold") == "BE BOLD"
    assert policy.value("other", "be bold") == "be bold"
    assert policy.counts == {"callback": 1}


def test_a_callback_that_raises_costs_the_value_and_nothing_else() -> None:
    """Rather nothing than a secret."""
    policy = Policy()
    redaction_before = redaction.policy()
    redaction.install(policy)
    try:
        redaction.add(callback=lambda key, value: str(1 // 0))
        assert policy.text("harmless text") == "[REDACTED:unreadable]"
    finally:
        redaction.install(redaction_before)


def test_code_may_not_add_a_pattern_that_the_settings_refuse() -> None:
    """It could take exponential time."""
    with pytest.raises(re.error, match="repeated group"):
        redaction.add(patterns={"bad": "(a+)+b"})


@pytest.mark.parametrize("script", ["configure_logging()", "import os; configure_logging(view='json')"])
def test_the_settings_hold_without_telemetry(script: str) -> None:
    """An app that only logs reads them when logging is set up, and says what is wrong with any."""
    code = (
        f"from otel_forge import configure_logging, get_logger; {script}; get_logger('x').info('T123', tenant_code=7)"
    )
    environ = {
        **os.environ,
        "OTEL_FORGE_REDACTION_KEYS": "tenant_code",
        "OTEL_FORGE_REDACTION_PATTERNS": "ticket=T[0-9]{3}",
        "OTEL_FORGE_LOGS_LONGEST": "much",
        "APP_ENV": "development",
    }
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    said = done.stdout + done.stderr
    assert "[REDACTED:ticket]" in said
    assert "[REDACTED:custom-key]" in said
    assert "OTEL_FORGE_LOGS_LONGEST='much'" in said


@pytest.mark.parametrize("bad", ["badge", "badge=(", "a b=x", "x=(a+)+", "x=(a*b?)*"])
def test_bad_patterns_are_named_with_what_is_allowed(bad: str) -> None:
    """A pattern that does not compile, or could take exponential time, is not used; the others are."""
    settings = Settings.from_env({"OTEL_FORGE_REDACTION_PATTERNS": f"good=G[0-9]+;{bad}"})
    assert settings.redaction.patterns == {"good": "G[0-9]+"}
    (problem,) = settings.problems
    assert problem.startswith("OTEL_FORGE_REDACTION_PATTERNS=")
    assert bad in problem
    assert "class=regular expression" in problem


def test_hostile_values_do_not_raise() -> None:
    """Values that contain themselves, subclasses of text, lone surrogates and endless nesting."""
    cycle: list[Any] = []
    cycle += [cycle, cycle, {"password": cycle}]
    policy = Policy()
    assert policy.value("a", cycle) is not cycle
    assert policy.text("password=\udcff!x ok") == "password=[REDACTED:password] ok"

    class Text(str):
        def __getitem__(self, item: Any) -> Any:
            raise RuntimeError

    assert policy.value("a", Text("password=hunter2")) == "password=[REDACTED:password]"
