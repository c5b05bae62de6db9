"""URLs and query strings: keys stay, values go."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterator

from otel_forge.redaction.marks import EXCESS, MOST_IN_ONE_TEXT, OPENING, substituted

_Mark = Callable[[str], str]
QUERY_VALUE, EMAIL, CREDENTIALS, DSN = "query-value", "email", "url-credentials", "dsn"

_separator = re.compile(r"([&;])").split
_credentials = re.compile(r"://(?P<user>[^\s/?#\"'<>]{1,512})@")
_loose_credentials = re.compile(
    r"://(?!\[REDACTED:)[^\s/:?#@\"'<>]{0,64}:(?![0-9]{1,5}/)(?P<user>[^\s:@\"'<>]{1,128})@"
)
_query_begins = re.compile(r"\?(?=[^\s?#\"'<>=]{1,128}=)")
_BEFORE_A_URL = " \t\n\r\"'<"
_LONGEST_URL = 1024
_ends_in_brackets = re.compile(r"[\s#>]")
_ends_bare = re.compile(r"[\s#]|\\{0,3}\"(?=\s|\Z|,[\"\[{]|[:}\]])")  # the quote is that of a JSON text around it
_ends_quoted = {
    (quote, escapes): re.compile(rf"[\s#]|(?<!\\){re.escape(escapes * chr(92))}{quote}")
    for quote in "\"'"
    for escapes in range(4)
}
_TRAILING = ")]},.;\"'\\"


def redacted_query(query: str, allowed: Container[str], key_class: Callable[[str], str], mark: _Mark) -> str:
    """Return `query` with the values of all keys but the `allowed` ones replaced."""
    parts = _separator(query, MOST_IN_ONE_TEXT)
    for index in range(0, len(parts), 2):
        key, equals, value = parts[index].partition("=")
        if index >= 2 * MOST_IN_ONE_TEXT:
            parts[index] = mark(QUERY_VALUE)
        elif equals and value and not value.startswith(OPENING) and key.lower() not in allowed:
            parts[index] = f"{key}={mark(_class_of(key, value, key_class))}"
        elif not equals and "@" in key:
            parts[index] = mark(EMAIL)
        elif not equals and _is_rest(key, parts[index - 1] if index else ""):
            parts[index] = mark(QUERY_VALUE)
    return "".join(parts)


def _is_rest(part: str, separator: str) -> bool:
    """Whether `part`, which has no equals sign, is the rest of a value that has a semicolon or a coded sign in it."""
    return part != "" and not part.startswith(OPENING) and (separator == ";" or "%3d" in part.lower())


def _class_of(key: str, value: str, key_class: Callable[[str], str]) -> str:
    named = key_class(key)
    if named:
        return named
    return EMAIL if "@" in value or "%40" in value else QUERY_VALUE


def redacted_credentials(text: str, mark: _Mark) -> str:
    """Return `text` with user and password of each URL in it replaced."""

    def replace(match: re.Match[str]) -> str:
        user = match.group("user")
        if user.startswith(OPENING):
            return match.group()
        is_dsn = ":" not in user and len(user) == 32
        return f"://{mark(DSN if is_dsn else CREDENTIALS)}@"

    text = substituted(_credentials, replace, text)
    return substituted(_loose_credentials, replace, text) if "@" in text else text


def redacted_queries(text: str, redact: Callable[[str], str]) -> str:
    """Return `text` with `redact` done to each query string in it."""
    out: list[str] = []
    written = 0
    for number, match in enumerate(_queries(text)):
        begin, end = match
        out.append(text[written:begin])
        if number == MOST_IN_ONE_TEXT:
            out.append(f"{OPENING}{EXCESS}]")
            written = len(text)
            break
        bare = text[begin:end].rstrip(_TRAILING)
        out.append(redact(bare))
        written = begin + len(bare)
    return "".join((*out, text[written:])) if out else text


def _queries(text: str) -> Iterator[tuple[int, int]]:
    """Yield where each query string begins and ends."""
    position = 0
    while match := _query_begins.search(text, position):
        begin = match.end()
        found = _end_of(text, begin).search(text, begin)
        position = found.start() if found else len(text)
        yield begin, position


def _end_of(text: str, begin: int) -> re.Pattern[str]:
    """Return what ends the query string that begins there: what stands before its URL decides.

    Only then a query may have quotes, brackets and question marks in it: access logs show URLs half decoded.
    """
    before = text[max(0, begin - _LONGEST_URL) : begin]
    opener = max(map(before.rfind, _BEFORE_A_URL))
    if opener < 0 or before[opener].isspace():
        return _ends_bare
    if before[opener] == "<":
        return _ends_in_brackets
    escapes = opener - len(before[:opener].rstrip("\\"))
    return _ends_quoted[before[opener], min(escapes, 3)]
