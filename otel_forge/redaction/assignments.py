"""Secrets that can be told by what stands before them: ``password=…``, ``"token": "…"``, ``Authorization: …``.

The keywords are looked for in the text in lower case, first as plain substrings. Every repetition in the patterns
is bounded or has nothing after it, so a text is read once for each pattern.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable, Iterator
from functools import cache, cached_property, partial
from string import ascii_lowercase

from otel_forge.redaction.keys import (
    API_KEY,
    AUTHORIZATION,
    CARD,
    CLOUD_KEY,
    COOKIE,
    PASSWORD,
    PRIVATE_KEY,
    SECRET,
    SESSION_ID,
    TOKEN,
)
from otel_forge.redaction.marks import EXCESS, MOST_IN_ONE_TEXT, substituted
from otel_forge.redaction.plurals import TOKENS, are_secrets, is_opaque
from otel_forge.redaction.signs import likely

_Mark = Callable[[str], str]


def _after(end: str, *words: str) -> str:
    """Return a pattern of `end` with one of the `words` before it; found by its own letters, which is fast."""
    joined = "|".join(rf"(?<={word}{end})|(?<={word}[_\- ]{end})" for word in words)
    return f"{end}(?:{joined})"


def _alone(word: str) -> str:
    """Return a pattern of `word` that is not the end of a longer one."""
    return f"{word}(?<![a-z0-9]{word})"


_KEYWORDS: tuple[tuple[str, str, str], ...] = (
    (PASSWORD, "pass", r"passw(?:or)?[dt]s?"),
    (PASSWORD, "pwd", "pwd(?:s)?"),
    (PASSWORD, "pass", "passphrase(?:s)?"),
    (PASSWORD, "pass", "passcode(?:s)?"),
    (PASSWORD, "pin", _alone("pin")),
    (PASSWORD, "otp", r"otp(?<![a-su-z0-9]otp)"),
    (TOKEN, "token", TOKENS),
    (TOKEN, "srf", "csrf"),
    (TOKEN, "srf", "xsrf"),
    (
        API_KEY,
        "key",
        _after("key", "api", "auth", "signing", "encryption", "master", "webhook", "hmac", "license") + "s?",
    ),
    (CLOUD_KEY, "key", _after("key", "access", "account", "storage") + "(?:s|[_-]?id)?"),
    (PRIVATE_KEY, "key", _after("key", "private", "ssh") + "(?:s|[_-]?id)?"),
    (SECRET, "secret", r"secret(?:s|[_-]?keys?)?"),
    (SECRET, "credential", "credential(?:s)?"),
    (SESSION_ID, "sess", r"session[_-]?(?:id|key)s?"),
    (SESSION_ID, "sess", "sessid"),
    (SESSION_ID, "sid", _alone("sid")),
    (CARD, "card", r"card(?:[_-]?(?:number|num|no)|(?<=creditcard)|(?<=credit[_-]card))"),
    (CARD, "cv", "cvv(?:2)?"),
    (CARD, "cv", _alone("cvc")),
    (CLOUD_KEY, "sig", _alone("sig")),
    (CLOUD_KEY, "sig", _alone("signature")),
    (AUTHORIZATION, "authorization", "authorization"),
)
"""Class, a sign that any text with such a keyword holds, and the pattern of the keyword."""

_HEADERS = ((AUTHORIZATION, "authorization", "authorization"), (COOKIE, "cookie", "cookie2?"))
"""Headers, whose value goes on to the end of the line."""

_NO_TOKENS = ("page_", "page-", "next_", "next-", "first_", "stop_", "continuation_", "unexpected ")
_NEXT = r"(?=[\\\"'\] \t=:_0-9hvpconr>-])"  # what may follow a key at all: most words end a try here
_SUFFIX = r"(?:[_-]?(?:hash|value|plain|confirm(?:ation)?|old|new|raw|[0-9]))?"
_SEPARATOR = r"(?:\\{0,3}[\"'])?\]?[ \t]{0,3}(?:=>|:=|==|[=:])[ \t]{0,3}"
_QUOTE = r"(?:[\[({]{1,3}\s{0,64})?[bru]?(?P<quote>\\{0,3}[\"'])"
_SCHEME = r"(?:(?:bearer|basic|token|digest|negotiate|apikey|bot)[ \t]+)?"
_LONGEST_QUOTED = 8192
_NOTHING = frozenset(
    (
        *("none", "nil", "null", "true", "false", "yes", "no", "on", "off"),
        *("undefined", "self", "hidden", "masked", "redacted", "filtered"),
    )
)
"""What stands for a value that is not there, or not shown."""

_PROSE = frozenset(
    (
        *("ok", "required", "missing", "invalid", "expired", "incorrect", "wrong", "empty"),
        *("unset", "set", "valid", "accepted", "rejected", "must", "cannot", "not"),
        *("is", "the", "a", "an", "too", "should", "changed", "updated"),
        *("reset", "refreshed", "revoked", "unknown", "string", "str", "text", "optional"),
        "default",
        *("enabled", "disabled", "failed", "error", "it", "for", "of", "and"),
        *("or", "to", "has", "was", "with", "mismatch", "type", "length"),
        *("object", "class", "function"),
        *("lambda", "found"),
    )
)
"""What may follow a colon in a sentence; after an equals sign it would be a value."""

_placeholder = re.compile(r"%\(\w{1,40}\)s|%s|\?|\*+|\.{3}|…|\$[0-9]{1,2}|\{\w{0,40}\}|\$\{\w{1,60}\}|<\w{1,40}>|x{3,}")
_code = re.compile(r"(?:[a-z_]+\.)*[a-z_]+[(\[]")
_TRAILING = ",)]}."
_FEWEST_DIGITS = 4


class _Keyword:
    """One row of `_KEYWORDS`, with a pattern for each way to assign, compiled when it is needed first."""

    def __init__(self, kind: str, sign: str, pattern: str) -> None:
        self.kind = kind
        self.sign = sign
        self.beginning = pattern[: len(pattern) - len(pattern.lstrip(ascii_lowercase))]
        """The letters that the keyword always begins with."""
        self._key = f"(?P<key>{pattern}){_NEXT}"

    @cached_property
    def line(self) -> re.Pattern[str]:
        before = r"(?:\\{0,3}[\"'])?\]?[ \t]{0,3}[:=][ \t]{0,3}"
        return re.compile(rf"{self._key}{before}(?:{_QUOTE}|(?P<value>[^\r\n\"']+))")

    @cached_property
    def assigned(self) -> re.Pattern[str]:
        return re.compile(rf"{self._key}{_SUFFIX}{_SEPARATOR}(?:{_QUOTE}|(?P<value>{_SCHEME}[^\s&;\"'<>]+))")

    @cached_property
    def paired(self) -> re.Pattern[str]:
        return re.compile(rf"{self._key}{_SUFFIX}[\"'], ?(?:{_QUOTE}|(?P<value>(?!)))")

    @cached_property
    def option(self) -> re.Pattern[str]:
        return re.compile(rf"{self._key}{_SUFFIX}[ \t]{{1,3}}(?=[^\s-])(?:{_QUOTE}|(?P<value>[^\s\"'-][^\s\"']*))")

    @cached_property
    def tagged(self) -> re.Pattern[str]:
        return re.compile(rf"{self._key}{_SUFFIX}>(?:(?P<quote>(?!))|(?P<value>[^<>\s][^<>]*))")


def _by_sign() -> list[tuple[str, list[_Keyword]]]:
    """Return the keywords of each sign."""
    signs: dict[str, list[_Keyword]] = {}
    for kind, sign, pattern in _KEYWORDS:
        signs.setdefault(sign, []).append(_Keyword(kind, sign, pattern))
    return list(signs.items())


_keywords = _by_sign()
_headers = [_Keyword(*row) for row in _HEADERS]
_ASSIGNED = ("=", ":")
_PAIRED = ("('", '("')


def redacted_assignments(text: str, mark: _Mark) -> str:
    """Return `text` without the values that stand under a key that names a secret."""
    low = lowered(text)
    for header in _headers:
        if header.sign in low:
            text, low = _replaced(text, low, header.line, header.kind, mark)
            if any(sign in text for sign in _PAIRED):
                text, low = _replaced(text, low, header.paired, header.kind, mark, _is_in_pair)
    for sign, keywords in likely(_keywords, low):
        if sign in low:
            for keyword in keywords:
                if keyword.beginning in low:
                    text, low = _without(keyword, text, low, mark)
    if "earer " in text or "asic " in text or "EARER " in text:
        text = _without_schemes(text, mark)
    if "[parameters: " in low:
        text = substituted(_parameters(), lambda _match: f"[parameters: {mark('db-parameter')}]", text)
    return text


def _without(keyword: _Keyword, text: str, low: str, mark: _Mark) -> tuple[str, str]:
    """Return `text` without the values that are assigned to one keyword, and that in lower case."""
    if any(sign in text for sign in _ASSIGNED):
        text, low = _replaced(text, low, keyword.assigned, keyword.kind, mark, _is_no_place)
    if any(sign in text for sign in _PAIRED):
        text, low = _replaced(text, low, keyword.paired, keyword.kind, mark, _is_in_pair)
    if "--" in text:
        text, low = _replaced(text, low, keyword.option, keyword.kind, mark, _is_option)
    if "</" in text:
        text, low = _replaced(text, low, keyword.tagged, keyword.kind, mark)
    return text, low


def lowered(text: str) -> str:
    """Return `text` in lower case, each character where it was (only ``İ`` becomes two in lower case)."""
    low = text.lower()
    return low if len(low) == len(text) else text.replace("İ", "i").lower()


def _replaced(
    text: str,
    low: str,
    pattern: re.Pattern[str],
    kind: str,
    mark: _Mark,
    holds: Callable[[str, int], bool] = lambda low, start: True,
) -> tuple[str, str]:
    """Return `text` with the value, or the values, of each match replaced, and that in lower case."""
    out: list[str] = []
    written = position = 0
    left = MOST_IN_ONE_TEXT
    while match := pattern.search(low, position):
        left -= 1
        if left <= 0:
            out += (text[written : match.start()], mark(EXCESS))
            written = len(text)
            break
        if not holds(low, match.start("key")):
            position = match.end()
            continue
        values = list(_values(low, match))
        left -= len(values) - 1
        position = max(values[-1][1], match.end())
        for start, end in values:
            if _is_secret(low[start:end], match):
                out += (text[written:start], mark(kind))
                written = end
    if not out:
        return text, low
    text = "".join((*out, text[written:]))
    return text, lowered(text)


def _values(low: str, match: re.Match[str]) -> Iterator[tuple[int, int]]:
    """Yield where each value begins and ends: one, or all in quotes where a bracket opens before the first."""
    start, end = _value(low, match)
    yield start, end
    quote = match.group("quote")
    if not quote or not any(bracket in low[match.end("key") : match.start("quote")] for bracket in "[({"):
        return
    while further := _further().match(low, end + len(quote)):
        quote, start = further.group("quote"), further.end()
        end = _end_of_quoted(low, start, quote)
        yield start, end


def _value(low: str, match: re.Match[str]) -> tuple[int, int]:
    """Return where the value begins and ends."""
    quote = match.group("quote")
    if quote:
        start = match.end("quote")
        return start, _end_of_quoted(low, start, quote)
    start, end = match.span("value")
    if match.group("key").startswith("passphrase"):
        newline = low.find("\n", start, start + _LONGEST_QUOTED)
        end = newline if newline > 0 else min(len(low), start + _LONGEST_QUOTED)
    while end > start and low[end - 1] in _TRAILING:
        end -= 1
    return start, end


def _end_of_quoted(low: str, start: int, quote: str) -> int:
    """Return where a quoted value ends: at its quote, unless that is escaped, or at the most `_LONGEST_QUOTED` on."""
    last = min(len(low), start + _LONGEST_QUOTED)
    end = low.find(quote, start, last)
    while len(quote) == 1 and end > start and low[end - 1] == "\\" and not _is_even(low, start, end):
        end = low.find(quote, end + 1, last)
    return last if end < 0 else end


def _is_even(low: str, start: int, end: int) -> bool:
    """Whether the backslashes before `end` escape each other."""
    before = low[max(start, end - 64) : end]
    return (len(before) - len(before.rstrip("\\"))) % 2 == 0


def _is_secret(value: str, match: re.Match[str]) -> bool:
    """Whether `value` may be one: not nothing, a placeholder, a word of prose, or replaced already."""
    scheme, _, rest = value.rpartition(" ")
    if not value or rest.startswith("[redacted:") and (not scheme or scheme.isalpha()):
        return False
    if value in _NOTHING or _placeholder.fullmatch(value):
        return False
    is_quoted, key = bool(match.group("quote")), match.group("key")
    assigned = match.string[match.end("key") : match.end() if is_quoted else match.start("value")]
    if value in _PROSE and "=" not in assigned:
        return False
    if key.endswith("s") and not are_secrets(value, key, is_quoted=is_quoted, is_sure="=" in assigned):
        return False
    if is_quoted:
        return True
    if _code.match(value) or value.rpartition(".")[2] == key:
        return False  # a line of source code in a traceback: token = read_token(…), token=self.token
    return not (value.isdigit() and len(value) < _FEWEST_DIGITS) and value.strip("[](){}") != ""


def _is_no_place(low: str, start: int) -> bool:
    """Whether the key at `start` is not a token that tells where to go on, or one of a parser."""
    return not low.endswith(_NO_TOKENS, max(0, start - 16), start)


def _is_in_pair(low: str, start: int) -> bool:
    """Whether the key at `start` is the first of a pair: ``('password', '…')``."""
    before = low[max(0, start - 64) : start]
    return _pair_start().search(before) is not None


def _is_option(low: str, start: int) -> bool:
    """Whether the key at `start` belongs to an option of a command line: ``--db-password …``."""
    before = low[max(0, start - 64) : start]
    return before.rpartition(" ")[2].startswith("--")


@cache
def _further() -> re.Pattern[str]:
    """Return what may stand between two values of a list, tuple or mapping, with the second one's quote."""
    return re.compile(r"[^\[\](){}\"'\\]{0,64}(?P<quote>\\{0,3}[\"'])")


@cache
def _pair_start() -> re.Pattern[str]:
    return re.compile(r"\([\"'][a-z0-9_.-]{0,40}\Z")


@cache
def _parameters() -> re.Pattern[str]:
    return re.compile(r"\[parameters: (?!\[REDACTED)[^\n]*")


_SCHEMES = ("earer", "EARER", "asic")
"""Ends of ``Bearer`` and ``Basic`` in any case that is in use: a pattern is fastest with letters at its beginning."""


def _without_schemes(text: str, mark: _Mark) -> str:
    """Return `text` without what follows the name of a scheme of authorization."""
    for scheme in _SCHEMES:
        if scheme in text:
            is_secret = _is_basic if scheme == "asic" else is_opaque
            text = substituted(_scheme(scheme), partial(_scheme_or_not, is_secret=is_secret, mark=mark), text)
    return text


@cache
def _scheme(scheme: str) -> re.Pattern[str]:
    return re.compile(rf"({scheme} {{1,3}})([A-Za-z0-9._~+/=-]{{8,}})")


def _scheme_or_not(match: re.Match[str], is_secret: Callable[[str], bool], mark: _Mark) -> str:
    return f"{match.group(1)}{mark(AUTHORIZATION)}" if is_secret(match.group(2)) else match.group()


def _is_basic(value: str) -> bool:
    """Whether `value` is the base64 of ``user:password``."""
    try:
        return b":" in b64decode(value[:1024] if len(value) % 4 == 0 else value[: len(value) // 4 * 4], validate=True)
    except ValueError:
        return False
