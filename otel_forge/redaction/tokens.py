"""Secrets that can be told by how they look: what their issuers put at the beginning of tokens and keys.

Each pattern starts with a literal and has nothing after an unbounded repetition that could fail, so that none
of them reads the same text again and again. A pattern is tried only on texts that hold its sign.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache

from otel_forge.redaction.cards import is_card_number
from otel_forge.redaction.marks import MOST_IN_ONE_TEXT, substituted
from otel_forge.redaction.signs import likely

_Mark = Callable[[str], str]

JWT, CARD, PRIVATE_KEY, AWS_KEY = "jwt", "card", "private-key", "aws-key"

ISSUED: tuple[tuple[str, str, str, str], ...] = (
    ("github-token", "_", "gh", r"gh[pousr]_[A-Za-z0-9]{30,}"),
    ("github-token", "_", "github_pat", r"github_pat_[A-Za-z0-9_]{22,}"),
    ("stripe-key", "_", "k_live_ k_test_", r"[srp]k_(?:live|test)_[A-Za-z0-9]{10,}"),
    ("stripe-key", "_", "whsec_", r"whsec_[A-Za-z0-9+/]{20,}={0,2}"),
    ("npm-token", "_", "npm_", r"npm_[A-Za-z0-9]{30,}"),
    ("huggingface-token", "_", "hf_", r"hf_[A-Za-z]{30,}"),
    ("digitalocean-token", "_", "_v1_", r"do[opr]_v1_[a-f0-9]{40,}"),
    ("shopify-token", "_", "shp", r"shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32,}"),
    ("grafana-token", "_", "glsa_ glc_", r"gl(?:sa|c)_[A-Za-z0-9_=+/]{30,}"),
    ("linear-key", "_", "lin_", r"lin_(?:api|oauth)_[A-Za-z0-9]{30,}"),
    ("supabase-key", "_", "sb", r"sb(?:p|_secret)_[A-Za-z0-9_-]{20,}"),
    ("sentry-token", "_", "sntry", r"sntry[su]_[A-Za-z0-9_=+/-]{30,}"),
    ("notion-token", "_", "ntn_", r"ntn_[A-Za-z0-9]{40,}"),
    ("groq-key", "_", "gsk_", r"gsk_[A-Za-z0-9]{40,}"),
    ("replicate-token", "_", "r8_", r"r8_[A-Za-z0-9]{30,}"),
    ("slack-token", "-", "xox", r"xox[abeprs]-[A-Za-z0-9-]{10,}"),
    ("slack-token", "-", "xapp-", r"xapp-[0-9]-[A-Za-z0-9-]{10,}"),
    ("anthropic-key", "-", "sk-", r"sk-ant-[A-Za-z0-9_-]{20,}"),
    ("openai-key", "-", "sk-", r"sk-(?<![A-Za-z0-9_]sk-)(?:[a-z]{2,8}-)?[A-Za-z0-9]{20,}[A-Za-z0-9_-]*"),
    ("gitlab-token", "-", "glpat- glrt-", r"gl(?:pat|rt)-[A-Za-z0-9_-]{20,}"),
    ("pypi-token", "-", "pypi-", r"pypi-[A-Za-z0-9_-]{50,}"),
    ("google-key", "-", "GOCSPX-", r"GOCSPX-[A-Za-z0-9_-]{20,}"),
    ("newrelic-key", "-", "NR", r"NR(?:AK|II|AA|BR)-[A-Za-z0-9]{20,}"),
    ("postman-key", "-", "PMAK-", r"PMAK-[a-f0-9-]{40,}"),
    ("square-token", "-", "sq0", r"sq0(?:atp|csp)-[A-Za-z0-9_-]{20,}"),
    ("age-key", "-", "AGE-SECRET-KEY-1", r"AGE-SECRET-KEY-1[A-Z0-9]{40,}"),
    ("sendgrid-key", ".", "SG.", r"SG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{16,64}"),
    ("google-key", ".", "ya29.", r"ya29\.[A-Za-z0-9_-]{20,}"),
    ("vault-token", ".", "hv", r"hv[sbr]\.[A-Za-z0-9_-]{24,}"),
    ("slack-token", ".", "hooks.slack.com/services/", r"hooks\.slack\.com/services/[A-Za-z0-9/]{20,}"),
    ("google-key", "", "AIza", r"AIza[A-Za-z0-9_-]{30,}"),
    ("databricks-token", "", "dapi", r"dapi[a-f0-9]{32,}"),
    ("atlassian-token", "", "ATATT3", r"ATATT3[A-Za-z0-9_=-]{30,}"),
    ("twilio-key", "", "SK", r"SK(?<![A-Za-z0-9]SK)[0-9a-f]{32}(?![0-9A-Za-z])"),
    ("telegram-token", "", ":AA", r":AA(?<=[0-9]:AA)[A-Za-z0-9_-]{32,}"),
    ("azure-key", "", "Q~", r"[A-Za-z0-9_~.-]{3}[0-9]Q~[A-Za-z0-9_~.-]{31,}"),
)
"""Class, a character that all such secrets hold, signs (each holds one of them), pattern."""

JWT_SIGN, AWS_SIGNS = "eyJ", ("AKIA", "ASIA")

_SHORTEST_BARE = 3


class _Issued:
    """One row of `ISSUED`; the pattern is compiled when a text holds its sign for the first time."""

    def __init__(self, kind: str, pattern: str) -> None:
        self._kind = kind
        self._pattern: str | re.Pattern[str] = pattern

    def redacted(self, text: str, mark: _Mark) -> str:
        if isinstance(self._pattern, str):
            self._pattern = re.compile(self._pattern)
        return substituted(self._pattern, lambda _match: mark(self._kind), text)


def _by_connector() -> dict[str, list[tuple[str, list[_Issued]]]]:
    """Return signs and their rows, under the character that all secrets of the rows hold."""
    rows: dict[str, dict[str, list[_Issued]]] = {"": {}, "_": {}, "-": {}, ".": {}}
    for kind, connector, signs, pattern in ISSUED:
        issued = _Issued(kind, pattern)
        for sign in signs.split():
            bare = sign.rstrip("_-.")  # long rows of dashes are looked through faster for letters
            rows[connector].setdefault(bare if len(bare) >= _SHORTEST_BARE else sign, []).append(issued)
    return {connector: list(of_connector.items()) for connector, of_connector in rows.items()}


_rows = _by_connector()
SIGNS = tuple((connector, sign) for connector, rows in _rows.items() for sign, _ in rows)
"""What a text must hold for any of `ISSUED` to be in it: both of a pair."""
_always, _under, _dash, _dot = _rows[""], _rows["_"], _rows["-"], _rows["."]


def redacted_tokens(text: str, mark: _Mark) -> str:
    """Return `text` without the tokens and keys that can be told by their looks."""
    if JWT_SIGN in text:
        text = substituted(_jwt(), lambda match: _jwt_or_not(match, mark), text)
    if "AKIA" in text or "ASIA" in text:
        text = _redacted_aws(text, mark)
    text = _without(_always, text, mark)
    if "_" in text:
        text = _without(_under, text, mark)
    if "-" in text:
        text = _without(_dash, text, mark)
    if "." in text:
        text = _without(_dot, text, mark)
    return text


def _without(rows: list[tuple[str, list[_Issued]]], text: str, mark: _Mark) -> str:
    for sign, all_issued in likely(rows, text):
        if sign in text:
            for issued in all_issued:
                text = issued.redacted(text, mark)
    return text


def redacted_blocks(text: str, mark: _Mark) -> str:
    """Return `text` without private keys and card numbers, which may hold spaces: before anything takes words out."""
    if "-----BEGIN" in text:
        text = _redacted_pem(text, mark)
    if _digits(text):
        text = substituted(_card, lambda match: _card_or_not(match, mark), text)
    return text


_digits = re.compile(r"[2-6][0-9]{3}[ -]?[0-9]{4}[ -]?[0-9]{2}").search
_card = re.compile(r"[0-9]{13,}|[0-9]{4}[ -][0-9]{4}[ -][0-9]{4}[ -][0-9]{1,7}|[0-9]{4}[ -][0-9]{6}[ -][0-9]{4,5}")


def _card_or_not(match: re.Match[str], mark: _Mark) -> str:
    found = match.group()
    start, end, text = match.start(), match.end(), match.string
    is_part = text[start - 1 : start].isalnum() or text[end : end + 1].isalnum()
    digits = found.replace(" ", "").replace("-", "")
    return mark(CARD) if not is_part and is_card_number(digits) else found


@cache
def _jwt() -> re.Pattern[str]:
    rest = r"(?:\.[A-Za-z0-9_-]*)?" * 3
    return re.compile(rf"eyJ[A-Za-z0-9_-]{{5,}}(?:\.[A-Za-z0-9_-]{{4,}})?{rest}")


@cache
def _aws_id() -> re.Pattern[str]:
    return re.compile(r"A(?:KI|SI)A[A-Z0-9]{12,}")


@cache
def _aws_secret() -> re.Pattern[str]:
    return re.compile(r"[A-Za-z0-9/+]{40,}")


@cache
def _pem_begin() -> re.Pattern[str]:
    return re.compile(r"-----BEGIN (?:[A-Z0-9]{1,12} ){0,4}PRIVATE KEY(?: BLOCK)?-----")


def _jwt_or_not(match: re.Match[str], mark: _Mark) -> str:
    return mark(JWT) if "." in match.group().rstrip(".") else match.group()


def _redacted_aws(text: str, mark: _Mark) -> str:
    """Replace key ids and, where there is one, what looks like the secret that belongs to it."""
    replaced = substituted(_aws_id(), lambda _match: mark(AWS_KEY), text)
    if replaced == text:
        return text
    return substituted(
        _aws_secret(), lambda match: mark(AWS_KEY) if len(match.group()) == 40 else match.group(), replaced
    )


def _redacted_pem(text: str, mark: _Mark) -> str:
    """Replace private keys from BEGIN to END, or to the end of the text if that is missing."""
    out: list[str] = []
    position = 0
    for begin in _pem_begin().finditer(text):
        if begin.start() < position:
            continue
        out += (text[position : begin.start()], mark(PRIVATE_KEY))
        end = text.find("-----END", begin.end())
        close = text.find("-----", end + 8) if end >= 0 else -1
        position = close + 5 if close >= 0 else len(text)
        if len(out) > 2 * MOST_IN_ONE_TEXT:
            position = len(text)
            break
    return "".join((*out, text[position:]))
