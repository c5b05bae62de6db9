"""URLs and query strings: keys stay, values go."""

from __future__ import annotations

import re
from collections.abc import Callable, Container

from otel_forge.redaction.marks import MOST_IN_ONE_TEXT, OPENING, substituted

_Mark = Callable[[str], str]
QUERY_VALUE, EMAIL, CREDENTIALS, DSN = "query-value", "email", "url-credentials", "dsn"

_separator = re.compile(r"([&;])").split
_credentials = re.compile(r"://(?P<user>[^\s/?#\"'<>]{1,512})@")
_loose_credentials = re.compile(
    r"://(?!\[REDACTED:)[^\s/:?#@\"'<>]{0,64}:(?![0-9]{1,5}/)(?P<user>[^\s:@\"'<>]{1,128})@"
)
_query_in_text = re.compile(r"\?(?=[^\s?#\"'<>=]{1,128}=)(?P<query>[^\s?#\"'<>]+)")
_trailing = ")]},.;"


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
    return "".join(parts)


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

    def replace(match: re.Match[str]) -> str:
        query = match.group("query")
        bare = query.rstrip(_trailing)
        return f"?{redact(bare)}{query[len(bare) :]}"

    return substituted(_query_in_text, replace, text)
