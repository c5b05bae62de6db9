"""One record is one line: what could end a line, steer a terminal or hide text is written as an escape.

That is every control character (C0, DEL, C1), the line and paragraph separators, the marks that turn the direction
of text, invisible tags and lone surrogates. Everything else is printed as it is, in any script.
"""

from __future__ import annotations

import re

UNSAFE = (
    "\x00-\x1f\x7f-\x9f\u061c\u180e\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f"
)
_search = re.compile(f"[{UNSAFE}]").search
_replace = re.compile(f"[{UNSAFE}]").sub
_NAMED = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\x1b": "\\x1b"}


def escaped(text: str) -> str:
    """Return `text` as it may stand in one line on a terminal, with Python's escapes."""
    return text if _search(text) is None else _replace(_python_escape, text)


def json_escaped(document: str) -> str:
    """Return a JSON document with JSON's own escapes in place of what `escaped` would replace.

    Such characters can only be inside of its strings, so the document means the same.
    """
    return document if _search(document) is None else _replace(_json_escape, document)


def _python_escape(match: re.Match[str]) -> str:
    character = match[0]
    code = ord(character)
    if character in _NAMED:
        return _NAMED[character]
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _json_escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x10000:
        return f"\\u{code:04x}"
    high, low = divmod(code - 0x10000, 0x400)
    return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"
