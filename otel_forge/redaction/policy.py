"""The policy: what becomes of a text, a value under a key, a URL, a statement.

Nothing here raises: a rule that fails on a value takes the value with it. What is not changed comes back as the
same object, which is how callers know that they may keep what they made of it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

from otel_forge.redaction.assignments import redacted_assignments
from otel_forge.redaction.keys import key_class, may_be_number
from otel_forge.redaction.marks import MOST_IN_ONE_TEXT, UNREADABLE, Marks, is_marked, substituted
from otel_forge.redaction.rules import ALLOWED_HEADERS, Callback, Rules, compiled, lowered_all
from otel_forge.redaction.shapes import LONGEST, HarmlessShapes
from otel_forge.redaction.sql import without_literals
from otel_forge.redaction.statements_in_text import SQL_LITERAL, VERBS, redacted_statements
from otel_forge.redaction.tokens import redacted_blocks, redacted_tokens
from otel_forge.redaction.tracebacks import HEAD, SHORTEST, Tracebacks
from otel_forge.redaction.urls import redacted_credentials, redacted_queries, redacted_query
from otel_forge.settings import RedactionSettings

HEADER, PARAMETER, CALLBACK = "header", "db-parameter", "callback"
_SHORTEST = 6
_KEPT_KEYS = 2048
_LONGEST_KEPT_KEY = 256
_LEVELS = 32
_MOST_ITEMS = 10_000
CARD_SIZED = 10**12

_URL_KEYS = frozenset(
    ("url.full", "url.original", "http.url", "http.target", "url", "http.request.header.referer", "http.referer")
)
_HEADER_KEYS = ("http.request.header.", "http.response.header.")
_PARAMETER_KEYS = ("db.query.parameter", "db.statement.parameters", "db.operation.parameter")
_STATEMENT_KEYS = frozenset(("db.query.text", "db.statement"))

TextRule = Callable[[str], str]


class KeyRule:
    """What becomes of the values under one key: `secret` is the class of them all, or else `text` is asked.

    With `counts`, a number under the key is none of the secrets.
    """

    __slots__ = ("counts", "secret", "text")

    def __init__(self, secret: str, text: TextRule, counts: bool = False) -> None:
        self.secret = secret
        self.text = text
        self.counts = counts


class Policy:
    """One policy for every sink; safe from any thread.

    `rules` can be replaced while it works; callers that keep what they made of values forget it then
    (see `otel_forge.redaction.current.on_change`).
    """

    def __init__(self, rules: Rules | None = None) -> None:
        self.marks = Marks()
        self._set(rules or Rules())

    def _set(self, rules: Rules) -> None:
        self.rules = rules
        self.enabled = rules.enabled
        self._keys: dict[str, KeyRule] = {}
        self._tracebacks = Tracebacks(lambda part: self._text(part, ""))
        self._shapes = HarmlessShapes()
        self._has_own_rules = bool(rules.patterns or rules.callback)

    def replace_rules(self, rules: Rules) -> None:
        """Go by other `rules` from now on."""
        self._set(rules)

    @property
    def counts(self) -> dict[str, int]:
        """How many secrets were replaced so far, by class."""
        return self.marks.counts

    # -- texts ------------------------------------------------------------------------------------------------------

    def text(self, text: str) -> str:
        """Return free text without secrets: a message, an exception's text, a traceback."""
        if not self.enabled:
            return text
        try:
            if not self._has_own_rules:  # those see every text, and as a whole
                if len(text) <= LONGEST and (len(text) < _SHORTEST or self._shapes.have(text)):
                    return text
                if len(text) >= SHORTEST and HEAD in text:
                    return self._tracebacks.redacted(text)
            return self._text(text, "")
        except Exception:  # noqa: BLE001 - a rule of ours or the user's callback: rather nothing than a secret
            return UNREADABLE

    def _text(self, original: str, key: str) -> str:
        mark = self.marks
        text = redacted_blocks(original, mark)
        if "=" in text or ":" in text or "--" in text or "('" in text or "</" in text or "earer " in text:
            if "://" in text and "@" in text:
                text = redacted_credentials(text, mark)
            if "?" in text and "=" in text:
                text = redacted_queries(text, self._query)
            text = redacted_assignments(text, mark)
        elif "asic " in text:
            text = redacted_assignments(text, mark)
        text = redacted_tokens(text, mark)
        if "'" in text and any(verb in text for verb in VERBS):
            text = redacted_statements(text, mark)
        if self._has_own_rules:
            text = self._own(text, key)
        return original if text == original else text

    def _own(self, text: str, key: str) -> str:
        """Return `text` without what the user's patterns and callback find."""
        for kind, pattern in self.rules.patterns.items():
            text = substituted(pattern, lambda _match, kind=kind: self.marks(kind), text)  # type: ignore[misc]
        if self.rules.callback is not None:
            changed = self.rules.callback(key, text)
            if changed is not None and changed != text:
                self.marks.count(CALLBACK)
                return str(changed)
        return text

    def url(self, url: str) -> str:
        """Return a URL, or the path and query of one, with keys and without values; no user, no password."""
        return self._safely(self._url, url)

    def _url(self, url: str) -> str:
        base, question, rest = url.partition("?")
        query, hash_sign, fragment = rest.partition("#")
        changed = f"{self._text(base, '')}{question}{self._query(query)}{hash_sign}{self._fragment(fragment)}"
        return url if changed == url else changed

    def _fragment(self, fragment: str) -> str:
        return self._query(fragment) if "=" in fragment else fragment

    def query(self, query: str) -> str:
        """Return a query string with keys and without values."""
        return self._safely(self._query, query)

    def _query(self, query: str) -> str:
        if "=" not in query and "@" not in query:
            return self._text(query, "")
        changed = redacted_query(query, self.rules.allowed_query, self._class_of, self.marks)
        changed = redacted_tokens(redacted_blocks(changed, self.marks), self.marks)
        return query if changed == query else changed

    def sql(self, statement: str) -> str:
        """Return a statement with ``?`` for each literal; comments stay."""
        return self._safely(self._sql, statement)

    def _sql(self, statement: str) -> str:
        changed, literals = without_literals(statement, lambda comment: self._text(comment, ""))
        for _ in range(min(literals, MOST_IN_ONE_TEXT)):
            self.marks.count(SQL_LITERAL)
        changed = redacted_tokens(changed, self.marks)
        return statement if changed == statement else changed

    def _safely(self, rule: TextRule, text: str) -> str:
        if not text or not self.enabled:
            return text
        try:
            return rule(text)
        except Exception:  # noqa: BLE001 - as in `text`
            return UNREADABLE

    # -- values under keys ------------------------------------------------------------------------------------------

    def key_class(self, key: str) -> str:
        """Return the class of secret that `key` names; empty if none."""
        if key.lower() in self.rules.allowed_keys:
            return ""
        return self.rules.own_class(key) or key_class(key)

    def _class_of(self, key: str) -> str:
        """Return the class of secret that `key` names, from what is kept."""
        return self.rule(key).secret

    def rule(self, key: str) -> KeyRule:
        """Return what becomes of values under `key`; found once for each key."""
        known = self._keys.get(key)
        if known is None:
            known = self._new_rule(key)
            if len(key) <= _LONGEST_KEPT_KEY:
                if len(self._keys) >= _KEPT_KEYS:
                    self._keys = {}
                self._keys[key] = known
        return known

    def _new_rule(self, key: str) -> KeyRule:
        if not self.enabled:
            return KeyRule("", str)
        try:
            return self._rule_of(key)
        except Exception:  # noqa: BLE001 - a key that is no text, say
            return KeyRule("unreadable", self.text)

    def _rule_of(self, key: str) -> KeyRule:
        low = key.lower()
        if low in self.rules.allowed_keys:
            return KeyRule("", self._under(key))
        for prefix in _HEADER_KEYS:
            if low.startswith(prefix):
                return self._header_rule(low[len(prefix) :].replace("_", "-"), key)
        if low.startswith(_PARAMETER_KEYS):
            return KeyRule(PARAMETER, self.text)
        special = {
            "url.query": self.query,
            **dict.fromkeys(_URL_KEYS, self.url),
            **dict.fromkeys(_STATEMENT_KEYS, self.sql),
        }
        if low in special:
            return KeyRule("", special[low])
        counts = may_be_number(key) and not self.rules.own_class(key)
        return KeyRule(self.key_class(key), self._under(key), counts)

    def _header_rule(self, header: str, key: str) -> KeyRule:
        if header in ("referer", "location", "origin"):
            return KeyRule("", self.url)
        named = self.key_class(header)
        allowed = header in self.rules.allowed_headers
        return KeyRule(named or ("" if allowed else HEADER), self._under(key))

    def _under(self, key: str) -> TextRule:
        """Return `text`, with `key` told to the user's callback if there is one."""
        return (
            (lambda text: self._safely(lambda text: self._text(text, key), text)) if self.rules.callback else self.text
        )

    def option_class(self, argument: Any) -> str:
        """Return the class of secret that an option of a command line, such as ``--db-password``, announces."""
        if type(argument) is not str or not argument.startswith("-") or "=" in argument:
            return ""
        return self.key_class(argument.lstrip("-")) if len(argument) <= _LONGEST_KEPT_KEY else ""

    def marked(self, kind: str) -> str:
        """Return the replacement for a secret of the class `kind`, counted."""
        return self.marks(kind)

    def secret(self, kind: str, value: str) -> str:
        """Return what may leave of a text that stands under a key of the class `kind`: only that there was one."""
        return value if not value or is_marked(value) else self.marks(kind)

    def number(self, rule: KeyRule, number: int) -> int | str:
        """Return a number as it is, unless its key names a secret or it is a card's."""
        if rule.secret and not rule.counts:
            return self.marks(rule.secret)
        if number < CARD_SIZED or number >= 10**20:
            return number
        digits = str(int(number))
        changed = rule.text(digits)
        return number if changed == digits else changed

    def binary(self, rule: KeyRule, value: bytes) -> bytes | str:
        """Return bytes as they are, unless their key names a secret or they hold one."""
        if rule.secret:
            return self.marks(rule.secret) if value else value
        text = value.decode("utf-8", "surrogateescape")
        changed = rule.text(text)
        return value if changed == text else changed.encode("utf-8", "surrogateescape")

    def value(self, key: str, value: Any) -> Any:
        """Return what may stand under `key`: texts, numbers, bytes, lists and mappings of them, at any depth."""
        if not self.enabled:
            return value
        try:
            return _Walk(self).value(self.rule(key), value, _LEVELS)
        except Exception:  # noqa: BLE001 - as in `text`
            return UNREADABLE

    def mapping(self, mapping: Mapping[str, Any]) -> dict[str, Any]:
        """Return a dict of what may stand under each key."""
        return {key: self.value(key, value) for key, value in mapping.items()}

    def attributes(self, attributes: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return what `mapping` does, but the same object if nothing in it changed."""
        allowed: Mapping[str, Any] = self.value("", attributes)
        return allowed if isinstance(allowed, Mapping) else {}

    def arguments(self, arguments: Any) -> Any:
        """Return the arguments of a log record: a tuple, or a mapping."""
        return self.value("", arguments)

    def headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        """Return headers with the values of those that are not on the allow-list replaced."""
        return {name: self.value(f"http.request.header.{name}", value) for name, value in headers.items()}


class _Walk:
    """One way through a value; it ends after so many items and levels, and at what contains itself."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._open: set[int] = set()
        self._left = _MOST_ITEMS

    def value(self, rule: KeyRule, value: Any, levels: int) -> Any:
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, (list, tuple, Mapping, set, frozenset)):
            return self._container(rule, value, levels)
        if rule.secret and not (rule.counts and isinstance(value, (int, float))):
            return self._secret(rule.secret, value)
        if isinstance(value, str):
            return rule.text(str.__str__(value)) if type(value) is not str else rule.text(value)
        if isinstance(value, bytes):
            return self._policy.binary(rule, value)
        if isinstance(value, int):
            return self._policy.number(rule, value)
        return value

    def _secret(self, kind: str, value: Any) -> Any:
        if isinstance(value, str):
            return self._policy.secret(kind, value)
        return self._policy.marked(kind) if value != b"" else value

    def _container(self, rule: KeyRule, value: Any, levels: int) -> Any:
        if levels <= 0 or id(value) in self._open or self._left <= 0:
            return "…"
        self._open.add(id(value))
        try:
            return (
                self._mapping(rule, value, levels) if isinstance(value, Mapping) else self._items(rule, value, levels)
            )
        finally:
            self._open.discard(id(value))

    def _mapping(self, rule: KeyRule, value: Mapping[Any, Any], levels: int) -> Any:
        changed: dict[Any, Any] = {}
        is_same = True
        for key, item in value.items():
            self._left -= 1
            own = rule if rule.secret or type(key) is not str else self._policy.rule(key)
            changed[key] = new = self.value(own, item, levels - 1)
            is_same = is_same and new is item
        return value if is_same else changed

    def _items(self, rule: KeyRule, value: Any, levels: int) -> Any:
        items = list(value)
        changed = []
        option = ""
        for item in items:
            self._left -= 1
            if option and isinstance(item, str) and not item.startswith("-"):
                changed.append(self._policy.marked(option))
            else:
                changed.append(self.value(rule, item, levels - 1))
            option = self._policy.option_class(item)
        if all(new is old for new, old in zip(changed, items, strict=True)):
            return value
        return tuple(changed) if isinstance(value, tuple) else changed


def build_policy(settings: RedactionSettings) -> Policy:
    """Return the policy that `settings` describe; raises what importing the user's callback raises."""
    return Policy(
        Rules(
            enabled=settings.enabled,
            keys=tuple(key.lower() for key in settings.keys),
            patterns=compiled(settings.patterns),
            callback=_callback(settings.callback),
            allowed_keys=lowered_all(settings.allowed_keys),
            allowed_headers=ALLOWED_HEADERS | lowered_all(settings.allowed_headers),
            allowed_query=lowered_all(settings.allowed_query),
        )
    )


def _callback(reference: str) -> Callback | None:
    if not reference:
        return None
    module, _, name = reference.partition(":")
    found: Callback = getattr(importlib.import_module(module), name)
    return found
