"""Secrets of every declared class, and what looks like them and is none.

Nothing here was ever valid: everything is made of a fixed random source and put together from parts, so that no file
holds anything that a scanner of secrets could take for somebody's. `Secret.needle` is the part of a secret that no
encoding changes (letters and digits), to look for in the bytes that a sink received.
"""

from __future__ import annotations

import base64
import random
import string
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from otel_forge.redaction.cards import has_check_digit

LETTERS_AND_DIGITS = string.ascii_letters + string.digits
HEX = "0123456789abcdef"


@dataclass(frozen=True)
class Secret:
    """One secret: `text` is how it stands in a message, a URL or an exception; `value` is the secret alone."""

    kind: str
    """The declared class."""
    name: str
    """Class and number, to name a failing case."""
    text: str
    needle: str
    value: str
    key: str
    """The key, header or parameter that `value` naturally stands under; empty if its looks alone tell it."""


class _Source:
    """A fixed source of random parts."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def chars(self, length: int, alphabet: str = LETTERS_AND_DIGITS) -> str:
        return "".join(self._random.choices(alphabet, k=length))

    def choice(self, items: list[str]) -> str:
        return self._random.choice(items)

    def below(self, limit: int) -> int:
        return self._random.randrange(limit)

    def base64(self, count: int) -> str:
        return base64.b64encode(self._random.randbytes(count)).decode()


Made = tuple[str, str, str, str]  # text, needle, value, key


def _password(source: _Source, number: int) -> Made:
    core = source.chars(10) + str(number)
    value = source.choice(["", "P@", "!", "x-", "$", "%"]) + core + source.choice(["", "!", "#1", "*"])
    key = source.choice(["password", "passwd", "pwd", "user_password", "db.password", "newPassword", "passphrase"])
    texts = [
        f"login failed: {key}={value} for user alice",
        f'body was {{"user": "alice", "{key}": "{value}", "remember": true}}',
        f"form {{'{key}': '{value}', 'next': '/'}}",
        f"ImmutableMultiDict([('user', 'alice'), ('{key}', '{value}')])",
        f"started with --{key.replace('_', '-').replace('.', '-')} {core} --verbose",
        f"User(name='alice', {key.replace('.', '_')}='{value}')",
        f"<login><{key.replace('.', '_')}>{core}</{key.replace('.', '_')}></login>",
        f"{key}: {value}",
        f'escaped {{\\"{key}\\": \\"{value}\\"}}',
    ]
    return texts[number % len(texts)], core, value, key


def _token(source: _Source, number: int) -> Made:
    core = source.chars(24)
    key = source.choice(["token", "access_token", "refresh-token", "csrf_token", "x-auth-token", "id_token"])
    texts = [
        f"{key}={core}",
        f'"{key}": "{core}"',
        f"refused {key}: {core} (expired)",
        f"callback?{key}={core}&state=1",
    ]
    return texts[number % len(texts)], core, core, key


def _api_key(source: _Source, number: int) -> Made:
    core = source.chars(32, HEX + "ghkm")
    key = source.choice(["api_key", "apikey", "X-Api-Key", "client_secret", "secret_key", "signing-key"])
    texts = [f"{key}={core}", f'{{"{key}": "{core}"}}', f"{key}: {core}", f"config['{key}'] = '{core}'"]
    return texts[number % len(texts)], core, core, key


def _issued_token(source: _Source, number: int) -> Made:
    chars = source.chars
    forms: list[Callable[[], tuple[str, str]]] = [
        lambda: ("gh" + source.choice(list("pousr")) + "_", chars(36)),
        lambda: ("github" + "_pat_", chars(40)),
        lambda: ("xox" + "b-", chars(12, string.digits) + "-" + chars(24)),
        lambda: ("sk_" + source.choice(["live", "test"]) + "_", chars(24)),
        lambda: ("wh" + "sec_", chars(32)),
        lambda: ("sk" + "-", chars(48)),
        lambda: ("sk" + "-proj-", chars(48)),
        lambda: ("sk" + "-ant-api03-", chars(60)),
        lambda: ("gl" + "pat-", chars(20)),
        lambda: ("npm" + "_", chars(36)),
        lambda: ("hf" + "_", chars(34, string.ascii_letters)),
        lambda: ("dop" + "_v1_", chars(64, HEX)),
        lambda: ("shp" + "at_", chars(32, HEX)),
        lambda: ("gl" + "sa_", chars(32)),
        lambda: ("SG" + ".", chars(22) + "." + chars(43)),
        lambda: ("hv" + "s.", chars(24)),
        lambda: ("py" + "pi-", chars(80)),
        lambda: ("AI" + "za", chars(35)),
        lambda: ("GOC" + "SPX-", chars(28)),
        lambda: ("NR" + "AK-", chars(27, string.ascii_uppercase)),
        lambda: ("sntr" + "ys_", chars(64)),
    ]
    prefix, rest = forms[number % len(forms)]()
    needle = rest.split("-")[-1].split(".")[-1]
    texts = [f"using {prefix}{rest}", f"cloned with {prefix}{rest}, done", f"env: {prefix}{rest}"]
    return texts[number % len(texts)], needle, prefix + rest, ""


def _jwt(source: _Source, number: int) -> Made:
    def part(text: str) -> str:
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")

    signature = source.chars(43)
    value = ".".join([part('{"alg":"HS256","typ":"JWT"}'), part(f'{{"sub":"{source.chars(8)}"}}'), signature])
    texts = [f"session {value} refused", f"Bearer {value}", f"jwt={value}", f"got '{value}'"]
    return texts[number % len(texts)], signature, value, ""


def _pem(source: _Source, number: int) -> Made:
    kind = source.choice(["", "RSA ", "EC ", "OPENSSH ", "ENCRYPTED "])
    lines = [source.chars(64) for _ in range(4)]
    newline = "\\n" if number % 2 else "\n"
    dashes = "-" * 5
    begin, end = f"{dashes}BEGIN {kind}PRIVATE KEY{dashes}", f"{dashes}END {kind}PRIVATE KEY{dashes}"
    value = newline.join([begin, *lines, end])
    return f"could not read key {value} from disk", lines[2], value, ""


def _card(source: _Source, number: int) -> Made:
    start, length = [("4", 16), ("52", 16), ("37", 15), ("6011", 16), ("2221", 16), ("3530", 16)][number % 6]
    body = start + source.chars(length - len(start) - 1, string.digits)
    digits = next(body + digit for digit in string.digits if has_check_digit(body + digit))
    grouped = [
        digits,
        " ".join(digits[at : at + 4] for at in range(0, 16, 4)),
        f"{digits[:4]}-{digits[4:10]}-{digits[10:]}",
    ]
    shown = digits if length == 15 and number % 3 == 1 else grouped[number % 3 if length == 15 else number % 2]
    return f"paid with {shown} today", shown, shown, ""


def _cloud_key(source: _Source, number: int) -> Made:
    aws_id, aws_secret = "AK" + "IA" + source.chars(16, string.ascii_uppercase + "234567"), source.chars(40)
    azure = source.chars(84)
    sas = source.chars(43)
    gcp = source.chars(40, HEX)
    forms: list[Made] = [
        (f"key {aws_id} not found", aws_id, aws_id, ""),
        (f"{aws_id} {aws_secret}", aws_secret, f"{aws_id}:{aws_secret}", ""),
        (f"AWS_SECRET_ACCESS_KEY={aws_secret}", aws_secret, aws_secret, "aws_secret_access_key"),
        (
            f"DefaultEndpointsProtocol=https;AccountName=demo;AccountKey={azure}==;EndpointSuffix=core.windows.net",
            azure,
            f"AccountName=demo;AccountKey={azure}==",
            "",
        ),
        (f"Endpoint=sb://demo/;SharedAccessKey={sas}=", sas, f"SharedAccessKey={sas}=", ""),
        (f"GET https://demo/container?sv=2022&sig={sas}%3D", sas, f"https://demo/c?sig={sas}", ""),
        (f'{{"type": "service_account", "private_key_id": "{gcp}"}}', gcp, gcp, "private_key_id"),
    ]
    return forms[number % len(forms)]


def _email_in_query(source: _Source, number: int) -> Made:
    name = source.chars(12, string.ascii_lowercase)
    sign = "%40" if number % 2 else "@"
    query = f"q=1&{source.choice(['email', 'user', 'contact', 'to'])}={name}{sign}example.com"
    return f"GET /invite?{query} HTTP/1.1", name, f"/invite?{query}", "url.full"


def _cookie(source: _Source, number: int) -> Made:
    core = source.chars(28)
    header = source.choice(["Cookie", "Set-Cookie", "cookie"])
    value = f"theme=dark; sid={core}; Path=/"
    texts = [f"{header}: {value}", f"headers {{'{header}': '{value}', 'Host': 'x'}}"]
    return texts[number % len(texts)], core, value, header.lower()


def _dsn(source: _Source, number: int) -> Made:
    core = source.chars(32, HEX)
    value = f"https://{core}@o{number}.ingest.example.io/{number}"
    return f"dsn is {value}", core, value, ""


def _connection_string(source: _Source, number: int) -> Made:
    core = source.chars(14)
    forms = [
        f"postgresql://app:{core}@db.internal:5432/assets",
        f"mysql+pymysql://root:{core}@127.0.0.1/shop?charset=utf8",
        f"redis://:{core}@cache:6379/0",
        f"amqp://guest:{core}@queue/%2f",
        f"Server=db;Database=shop;User Id=sa;Password={core};Encrypt=yes",
        f"host=db user=app password={core} dbname=assets",
        f"mongodb+srv://app:{core}@cluster.example.net/x",
        f"ftp://app:{core}@files/x",
    ]
    value = forms[number % len(forms)]
    return f"cannot connect to {value}", core, value, ""


def _authorization(source: _Source, number: int) -> Made:
    core = source.chars(20) + "9"
    basic = base64.b64encode(f"alice:{core}".encode()).decode()
    values = [f"Bearer {core}", f"Basic {basic}", f"Token {core}", f'Digest username="a", response="{core}"']
    value = values[number % 4]
    needle = basic[10:24] if number % 4 == 1 else core
    header = "Proxy-Authorization" if number % 3 == 2 else "Authorization"
    texts = [f"{header}: {value}", f"{{'{header}': '{value}'}}"]
    return texts[(number // 4) % 2 if number % 4 != 3 else 1], needle, value, header.lower()


def _session_id(source: _Source, number: int) -> Made:
    core = source.chars(26)
    key = source.choice(["session_id", "sessionid", "JSESSIONID", "PHPSESSID", "sid", "connect.sid"])
    texts = [f"{key}={core}", f'"{key}": "{core}"', f"{key}: {core}"]
    return texts[number % len(texts)], core, core, key


def _query_value(source: _Source, number: int) -> Made:
    core = source.chars(16)
    query = f"{source.choice(['q', 'name', 'code', 'state', 'ref'])}={core}&page=2"
    return (
        f"fetched https://example.com/search?{query} in 3 ms",
        core,
        f"https://example.com/search?{query}",
        "url.full",
    )


def _sql_literal(source: _Source, number: int) -> Made:
    core = source.chars(14)
    forms = [
        f"SELECT id FROM users WHERE name = '{core}' AND active = 1",
        f"INSERT INTO users (name, note) VALUES ('{core}', 'it''s {core}')",
        f"UPDATE users SET note = '{core}' WHERE id = 7",
        f"DELETE FROM users WHERE note LIKE '%{core}%'",
    ]
    value = forms[number % len(forms)]
    return f"slow statement {value}", core, value, "db.query.text"


CLASSES: dict[str, Callable[[_Source, int], Made]] = {
    "password": _password,
    "token": _token,
    "api key": _api_key,
    "issued token": _issued_token,
    "JWT": _jwt,
    "PEM": _pem,
    "card": _card,
    "cloud key": _cloud_key,
    "e-mail in query string": _email_in_query,
    "cookie": _cookie,
    "DSN": _dsn,
    "connection string": _connection_string,
    "authorization": _authorization,
    "session id": _session_id,
    "query value": _query_value,
    "SQL literal": _sql_literal,
}


def secrets(each: int = 21) -> list[Secret]:
    """Return `each` secrets of every declared class, always the same ones."""
    return [
        Secret(kind, f"{kind} {number}", *make(_Source(1000 * index + number), number))
        for index, (kind, make) in enumerate(CLASSES.items())
        for number in range(each)
    ]


BENIGN_PAIRS: tuple[tuple[str, object], ...] = (
    ("author", "Jane Austen"),
    ("authority", "example.com"),
    ("gen_ai.usage.input_tokens", 1234),
    ("input_tokens", "1234"),
    ("output_tokens", 99),
    ("max_tokens", 4096),
    ("token_count", 17),
    ("tokens", 1280),
    ("usage.tokens", 99),
    ("total_tokens", "1,280"),
    ("completion_tokens", 80),
    ("prompt_tokens_details", "cached"),
    ("llm.usage", {"tokens": {"input": 12, "output": 3.5}}),
    ("authorizations", 3),
    ("passengers", ("Bob",)),
    ("secretaries", "Alice"),
    ("token_type", "bearer"),
    ("next_page_token", "12"),
    ("session_count", 3),
    ("session_duration", "12 s"),
    ("sessions.active", 12),
    ("password_reset_url", "/reset"),
    ("password.length", 12),
    ("has_password", True),
    ("is_secret", False),
    ("secretary", "Alice"),
    ("passenger", "Bob"),
    ("bypass", "none"),
    ("compass", "north"),
    ("keyboard", "qwerty"),
    ("primary_key", "id"),
    ("foreign_key", "asset_id"),
    ("cache_key", "assets:8412"),
    ("routing_key", "orders.created"),
    ("partition_key", "eu-1"),
    ("public_key", "ssh-ed25519"),
    ("idempotency_key", "0f8fad5b-d9cb-469f-a165-70867728950e"),
    ("monkey", "george"),
    ("http.route", "/api/assets/<id>"),
    ("http.request.method", "GET"),
    ("http.request.header.content-type", ("application/json",)),
    ("http.request.header.user-agent", ("Mozilla/5.0 (X11; Linux x86_64)",)),
    ("url.path", "/api/tokens/12"),
    ("url.scheme", "https"),
    ("server.address", "db.internal"),
    ("code.function.name", "validate_token"),
    ("code.file.path", "/srv/app/auth/password.py"),
    ("db.namespace", "assets.db"),
    ("db.query.text", "SELECT id, name FROM assets WHERE id = ?"),
    ("db.query.text", "INSERT INTO tokens (id, token) VALUES ($1, $2)"),
    ("exception.type", "TokenExpiredError"),
    ("process.command_args", ("gunicorn", "shop.wsgi:app", "--workers", "4")),
    ("process.pid", 4111),
    ("thread.name", "ThreadPoolExecutor-0_1"),
    ("service.instance.id", "627cc493-f310-47de-96bd-71410b7dec09"),
    ("time_unix_nano", 1_795_435_200_000_000_000),
    ("amount", 4111.11),
    ("pinned", "yes"),
    ("pineapple", "fresh"),
    ("sidebar", "left"),
    ("side", "left"),
    ("opinion", "good"),
    ("signal", "traces"),
    ("design", "modern"),
    ("cookie_policy", "strict"),
    ("discard", "true"),
    ("card_type", "visa"),
)

BENIGN_TEXTS: tuple[str, ...] = (
    "asset 8412 of collection chairs served in 3 ms from cache",
    "used input_tokens=1200 output_tokens=80 total_tokens: 1280",
    "unexpected token: ')' at line 3",
    "SyntaxError: invalid syntax. Perhaps you forgot a comma? (app.py, line 3)",
    "password: required",
    "token: expired",
    "Password is required",
    "The password must have 12 characters",
    "password = ? AND name = ?",
    "password=%s",
    "token=None",
    "secret: null, retries: 3",
    "author: Jane Austen, year: 1813",
    "tokens: 1,280 of 4096, max_tokens: 4096, tokens=17",
    "{'prompt_tokens': 12, 'completion_tokens': 5, 'tokens': 17}",
    "total tokens: 128000, remaining tokens: 1.2k",
    "secrets: loaded; passwords: changed; api keys: 5000",
    "max-tokens: '4096', stop_tokens=['<end>', '---'], output_tokens=[]",
    "    tokens = tokenize(line)\n    tokens = [word for word in words]\n    tokens = rest",
    "session_count=3 sessions: 12",
    "GET /api/assets/8412 HTTP/1.1 200",
    "https://example.com/users/@alice",
    "http://127.0.0.1:3004/@vite/client",
    "mail to alice@example.com was sent",
    "commit 3f786850e387550fdab836ed7e6dc881de23001b pushed",
    "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "trace 4bf92f3577b34da6a3ce929d0e0e4736 span 00f067aa0ba902b7",
    "at 2026-11-23T16:08:33.123456+00:00 after 1795435200000 ms",
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==",
    "-----BEGIN CERTIFICATE-----\nMIIBszCCAVmgAwIBAgIU\n-----END CERTIFICATE-----",
    "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYI\n-----END PUBLIC KEY-----",
    "task-scheduler-worker-abcdefghijklmnopqrst finished",
    "risk-assessment-2026-q4-report-final-version-2 uploaded",
    "sk-learn pipeline fitted",
    "phone +49 30 1234567, room 4111",
    "order 1234567890123456 shipped",
    "KeyError: 'password'",
    "Missing fields: ['username', 'password', 'email']",
    "    password = get_password(user)\n",
    'File "/srv/app/auth/token.py", line 12, in refresh_token',
    "bearer authentication is not enabled; basic authentication is",
    "cookie: disabled",
    "select an item from the list: 'chair' or 'table'",
    "cache key assets:8412:v3 missed",
    "pin 4 is high; pin: 17",
    "C:\\Users\\alice\\AppData\\Local",
    "10 % of 3,000 requests; ratio=0.95; p99: 12 ms",
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ user@host",
    "[2026-11-23 16:08:33 +0000] [4111] [INFO] Booting worker with pid: 4111",
    "Worker exiting (pid: 5523); signal: TERM",
    "key=value pairs; sort_key=name primary_key=id",
    "WHERE id = $1 AND tenant_id = :tenant",
    "signature verification took 3 ms",
    "design: modern, assigned: alice, resign=no",
    "spin=3 shopping: yes topping=cheese",
)


def benign(count: int = 1500) -> list[tuple[str, object]]:
    """Return at least `count` values that are no secrets, with the keys that they stand under ("" for messages)."""
    fixed: list[tuple[str, object]] = [*BENIGN_PAIRS, *(("", text) for text in BENIGN_TEXTS)]
    made = _benign_values(_Source(7))
    return [*fixed, *(next(made) for _ in range(max(0, count - len(fixed))))]


def _benign_values(source: _Source) -> Iterator[tuple[str, object]]:
    """Yield ids, hashes, numbers, paths and messages as programs write them."""
    while True:
        uuid = "-".join(source.chars(length, HEX) for length in (8, 4, 4, 4, 12))
        sha1, sha256 = source.chars(40, HEX), source.chars(64, HEX)
        yield "asset.id", uuid
        yield "url.path", f"/api/assets/{uuid}/files/{source.below(10_000)}"
        yield "vcs.ref.head.revision", sha1
        yield "container.id", sha256
        yield "image", f"data:image/png;base64,{source.base64(120)}"
        yield "", f"built {sha1[:7]} in {source.below(900)} ms, digest sha256:{sha256}"
        yield "", f"asset {uuid} saved by worker-{source.below(64)} ({source.below(1 << 40)} bytes)"
        yield "messaging.message.id", str(1_000_000_000_000_000_000 + source.below(1 << 59))
        yield "etag", f'W/"{source.chars(27)}"'
        yield (
            "",
            f"{source.below(256)}.{source.below(256)}.0.1:{source.below(65536)} GET /{source.chars(6)}",
        )
        yield "measurement", source.below(1 << 50) / 1000
        yield "counter", source.below(1_000_000_000)
        yield (
            "",
            f"batch {source.below(999)}: {source.below(512)} spans, {source.below(99)} bytes, retry={source.below(5)}",
        )
        yield "k8s.pod.name", f"asset-forge-{source.chars(10, HEX)}-{source.chars(5, string.ascii_lowercase)}"
        yield "user_agent.original", f"python-requests/2.{source.below(40)}.{source.below(9)}"
        yield "time", f"2026-11-{1 + source.below(28):02}T{source.below(24):02}:00:00.{source.below(10**6):06}Z"
