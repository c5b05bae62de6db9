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
from tests.otlp_receiver import OtlpReceiver
from tests.programs import Programs


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
        ("passwords=hunter2 api_keys: k9f2", "passwords=[REDACTED:password] api_keys: [REDACTED:api-key]"),
        ("secrets: loaded, api keys: 5000", "secrets: loaded, api keys: 5000"),
        (
            "{'passwords': ['hunter2', 'x'], 'user': 'al'}",
            "{'passwords': ['[REDACTED:password]', '[REDACTED:password]'], 'user': 'al'}",
        ),
        (
            '{"access_tokens": [\n    "a1",\n    null,\n    "b2"\n], "n": "c"}',
            '{"access_tokens": [\n    "[REDACTED:token]",\n    null,\n    "[REDACTED:token]"\n], "n": "c"}',
        ),
        ('{"input_tokens": {"token": "a1"}}', '{"input_tokens": {"token": "[REDACTED:token]"}}'),
        ("tokens: 4f8a1c2b9d7e, tokens: many", "tokens: [REDACTED:token], tokens: many"),
    ],
)
def test_texts(text: str, redacted: str) -> None:
    """Each replacement says the class of what stood there, and the rest stays."""
    assert Policy().text(text) == redacted


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        (
            '"GET /a?q=\'x\'%20OR%20"y";%20z%3D1&n=a?b<c> HTTP/1.1" 200',
            '"GET /a?q=[Q];[Q]&n=[Q] HTTP/1.1" 200',
        ),
        ('{"url":"http://x/?a=b","next":"c"}', '{"url":"http://x/?a=[Q]","next":"c"}'),
        ('{"message":"GET /x?a=b","level":"INFO"}', '{"message":"GET /x?a=[Q]","level":"INFO"}'),
        ('{\\"url\\": \\"/x?a=b\\", \\"n\\": 1}', '{\\"url\\": \\"/x?a=[Q]\\", \\"n\\": 1}'),
        ("<Request 'http://x/?a=b' [GET]>", "<Request 'http://x/?a=[Q]' [GET]>"),
        ("<Request \"http://x/?a='b'&c\" [GET]>", '<Request "http://x/?a=[Q]&c" [GET]>'),
        (r"['/x?a=\'b\'c', '/y']", r"['/x?a=[Q]', '/y']"),
        (
            "<http://x/?a=b> and (http://x/?a=b), [x](/y?a=b).",
            "<http://x/?a=[Q]> and (http://x/?a=[Q]), [x](/y?a=[Q]).",
        ),
        ("http://x/?a=b#c and /x?flag&a=b;", "http://x/?a=[Q]#c and /x?flag&a=[Q];"),
        ("is it so? a=b, what?", "is it so? a=b, what?"),
    ],
)
def test_queries_in_texts(text: str, redacted: str) -> None:
    """Values go to their end, which what stands before the URL tells: access logs show quotes and brackets in them."""
    policy = Policy()
    once = policy.text(text)
    assert once == redacted.replace("[Q]", "[REDACTED:query-value]")
    assert policy.text(once) == once


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
        ("tokens", ["a", "b"], ["[REDACTED:token]", "[REDACTED:token]"]),
        ("tokens", {"input": 7, "rate": 0.5}, {"input": 7, "rate": 0.5}),
        ("refreshTokens", "a", "[REDACTED:token]"),
        ("client_secrets", "a", "[REDACTED:secret]"),
        ("session_ids", ("a",), ("[REDACTED:session-id]",)),
        ("authorizations", "3", "3"),
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


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        ("no.such.module:function", "ModuleNotFoundError: No module named 'no'"),
        ("tests.redaction.test_policy:no_such_name", "AttributeError: "),
        ("tests.redaction.test_policy", "not a function"),
    ],
)
def test_a_callback_that_cannot_be_imported_costs_only_itself(
    policy: Policy, capsys: pytest.CaptureFixture[str], reference: str, reason: str
) -> None:
    """One line names it and says why; everything else is redacted as ever."""
    settings = Settings.from_env({"OTEL_FORGE_REDACTION_CALLBACK": reference, "OTEL_FORGE_REDACTION_KEYS": "badge"})
    redaction.install_from(settings.redaction)
    said = [*settings.problems, *capsys.readouterr().err.splitlines()]
    [line] = said
    assert f"OTEL_FORGE_REDACTION_CALLBACK={reference!r}" in line and reason in line
    assert redaction.policy().text("password=hunter2") == "password=[REDACTED:password]"
    assert redaction.policy().value("badge", "x") == "[REDACTED:custom-key]"


def test_a_program_whose_callback_cannot_be_imported_runs_and_is_redacted(
    programs: Programs, receiver: OtlpReceiver
) -> None:
    """The whole way: the notice at start-up, and the password not in what was sent."""
    script = programs.write("app.py", "import logging\nlogging.warning('password=hunter2 and more')\n")
    program = programs.instrumented(
        "python",
        str(script),
        OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url,
        OTEL_FORGE_REDACTION_CALLBACK="shop.secrets:hide",
    )
    assert program.wait() == 0, program.err
    assert [line for line in program.notices() if "OTEL_FORGE_REDACTION_CALLBACK='shop.secrets:hide'" in line]
    [record] = receiver.received.logs()
    assert record.body.string_value == "password=[REDACTED:password] and more"


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
