"""Keys in the plural: ``passwords``, ``api_keys`` and ``tokens`` name secrets, ``input_tokens`` does not.

A number that stands under one in a text says how many there are. Tokens are what language models and parsers count and
show, too, so more must speak for those: whose they are, or how they look.
"""

from __future__ import annotations

OWNERS = (
    *("access", "api", "auth", "bearer", "bot", "csrf", "device", "id", "jwt", "login", "oauth", "personal"),
    *("push", "refresh", "reset", "secret", "security", "session", "user", "xsrf"),
)
"""Words before ``tokens`` that leave them secrets; any other, such as ``input`` or ``max``, says that they are none."""


def _after_an_owner(separator: str) -> str:
    """Return a pattern that holds behind the ``tokens`` of one of the `OWNERS`.

    A look back has one length, so there is one for each length, and before them one for the last two letters, at which
    nearly all else fails.
    """
    by_length: dict[int, list[str]] = {}
    for owner in OWNERS:
        by_length.setdefault(len(owner), []).append(owner)
    endings = "|".join(sorted({owner[-2:] for owner in OWNERS}))
    owned = "|".join(rf"(?<=(?:{'|'.join(owners)}){separator}tokens)" for owners in by_length.values())
    return rf"(?<=(?:{endings}){separator}tokens)(?:{owned})"


_owned = rf"{_after_an_owner('[_-]')}|{_after_an_owner('')}"
TOKENS = rf"token(?:s(?:(?<![a-z0-9_-]tokens)|(?<=--tokens)|{_owned}))?"
"""A pattern of ``token``, and of ``tokens`` where that stands alone or after one of the `OWNERS`."""

_SHORTEST_TOKEN = 12
_NUMBER = "0123456789.,_+~%km -[](){}"


def are_secrets(value: str, key: str, *, is_quoted: bool, is_sure: bool) -> bool:
    """Return whether `value`, all in lower case, stands for secrets under `key`, a plural.

    `is_sure` says that what is between the two is an assignment, and not a colon as in a sentence.
    """
    is_number = not value.strip(_NUMBER)
    if key == "tokens":
        return not is_number and (is_quoted or is_opaque(value))
    return is_quoted or not (is_number or (value.isalpha() and not is_sure))


def is_opaque(value: str) -> bool:
    """Return whether `value` looks like a token and not like a word."""
    return len(value) >= _SHORTEST_TOKEN and any(map(str.isdigit, value))
