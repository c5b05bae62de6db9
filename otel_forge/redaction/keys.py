"""Which keys name a secret, by the words that they are made of.

``user_password``, ``X-Api-Key`` and ``clientSecret`` do; ``input_tokens``, ``author``, ``session_count`` and
``password_reset_url`` do not: the last word says what the value is.
"""

from __future__ import annotations

import re

from otel_forge.redaction.plurals import OWNERS

PASSWORD, TOKEN, API_KEY, SECRET, PRIVATE_KEY = "password", "token", "api-key", "secret", "private-key"
AUTHORIZATION, COOKIE, SESSION_ID, CARD, CLOUD_KEY = "authorization", "cookie", "session-id", "card", "cloud-key"

_WORDS: dict[str, str] = {
    **dict.fromkeys(
        ("password", "passwd", "passwort", "passphrase", "passcode", "pwd", "pass", "pin", "otp"), PASSWORD
    ),
    **dict.fromkeys(("userpassword", "dbpassword", "mfacode", "totp"), PASSWORD),
    **dict.fromkeys(("token", "accesstoken", "refreshtoken", "authtoken", "idtoken", "jwt", "bearer"), TOKEN),
    **dict.fromkeys(("csrftoken", "xsrftoken", "sessiontoken", "csrf", "xsrf"), TOKEN),
    **dict.fromkeys(("apikey", "apitoken", "authkey", "signingkey", "encryptionkey", "masterkey"), API_KEY),
    **dict.fromkeys(("secret", "clientsecret", "secretkey", "credential"), SECRET),
    **dict.fromkeys(("privatekey", "sshkey"), PRIVATE_KEY),
    **dict.fromkeys(("authorization", "auth"), AUTHORIZATION),
    **dict.fromkeys(("cookie",), COOKIE),
    **dict.fromkeys(("sessionid", "sid", "jsessionid", "phpsessid", "sessid", "sessionkey"), SESSION_ID),
    **dict.fromkeys(("cvv", "cvc", "cvv2", "cardnumber", "creditcard", "ccnumber"), CARD),
    **dict.fromkeys(("accesskey", "accountkey", "secretaccesskey", "accesskeyid", "sharedaccesskey"), CLOUD_KEY),
}
_PAIRS: dict[tuple[str, str], str] = {
    **dict.fromkeys((("api", "key"), ("auth", "key"), ("signing", "key"), ("encryption", "key")), API_KEY),
    **dict.fromkeys((("master", "key"), ("hmac", "key"), ("webhook", "key"), ("license", "key")), API_KEY),
    **dict.fromkeys((("secret", "key"),), SECRET),
    **dict.fromkeys((("private", "key"), ("ssh", "key")), PRIVATE_KEY),
    **dict.fromkeys((("session", "id"), ("session", "key"), ("sess", "id"), ("connect", "sid")), SESSION_ID),
    **dict.fromkeys((("card", "number"), ("credit", "card"), ("cc", "number"), ("card", "cvc")), CARD),
    **dict.fromkeys((("access", "key"), ("account", "key"), ("storage", "key")), CLOUD_KEY),
    **dict.fromkeys((("mfa", "code"), ("pin", "code"), ("otp", "code"), ("verification", "code")), PASSWORD),
    **dict.fromkeys((("pass", "word"), ("pass", "phrase")), PASSWORD),
}
_OF_A_SECRET = frozenset(
    ("hash", "value", "plain", "plaintext", "raw", "old", "new", "confirm", "confirmation", "again")
)
"""Last words that leave the word before them to say what the value is: ``password_confirmation``."""

_ALONE_ONLY = frozenset(("auth", "pass", "bearer", "pin", "sid", "otp"))
"""Words too common at the end of longer keys (``skip_pass``, ``is_auth``): only as the whole last part of a path."""

_SINGULAR_ONLY = _ALONE_ONLY | {"authorization"}
"""What is no secret in the plural: ``authorizations`` of payments."""

_NO_TOKEN_AFTER = frozenset(
    (
        "page",
        "next",
        "first",
        "last",
        "per",
        "continuation",
        "sync",
        "output",
        "input",
        "cancellation",
        "prompt",
        "stop",
    )
)
_ID_OF_A_KEY = ("key", "id")
_TOKENS = "tokens"
_separators = re.compile(r"[^A-Za-z0-9]+").split
_humps = re.compile(r"(?<=[a-z0-9])(?=[A-Z])").split
_LONGEST_KEY = 256


def key_class(key: str) -> str:
    """Return the class of secret that `key` names; empty if none."""
    words = _words(key)
    return _class_of(words) or _class_of_path_end(key, words)


def may_be_number(key: str) -> bool:
    """Return whether a number under `key` says how many there are: nearly always the case with ``tokens``."""
    return _words(key)[-1:] == [_TOKENS]


def _words(key: str) -> list[str]:
    """Return the words of `key` in lower case, up to the one that says what the value is."""
    parts = [part for part in _separators(key[-_LONGEST_KEY:]) if part]
    words = [word.lower() for part in parts for word in _humps(part)]
    while len(words) > 1 and (words[-1] in _OF_A_SECRET or words[-1].isdigit()):
        words.pop()
    return words


def _class_of(words: list[str]) -> str:
    """Return the class that the last one or two words name, in the singular or in the plural."""
    if not words:
        return ""
    if tuple(words[-2:]) == _ID_OF_A_KEY:
        words = words[:-1]
    last = words[-1]
    before = words[-2] if len(words) > 1 else ""
    singular = last.removesuffix("s")
    pair = _PAIRS.get((before, last)) or _PAIRS.get((before, singular))
    if pair:
        return pair
    if last == _TOKENS:
        return TOKEN if not before or before in OWNERS else ""
    if last == "token" and before in _NO_TOKEN_AFTER:
        return ""
    if last in _ALONE_ONLY:
        return ""
    return _WORDS.get(last) or ("" if singular in _SINGULAR_ONLY else _WORDS.get(singular, ""))


def _class_of_path_end(key: str, words: list[str]) -> str:
    """Return the class of a word that counts only when it stands alone after the last dot."""
    end = key.rpartition(".")[2].lower()
    return _WORDS.get(end, "") if words and end in _ALONE_ONLY else ""
