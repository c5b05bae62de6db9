"""What comes in with a request, checked: query strings and JSON bodies become values or an InvalidRequest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from asset_forge.assets import NewAsset
from asset_forge.seed import KINDS

MAX_PAGE = 100_000
MAX_PAGE_SIZE = 100
MAX_POLYGONS = 10_000_000


class InvalidRequest(Exception):
    """A request cannot be served as it is; ``fields`` says what is wrong with which part."""

    def __init__(self, fields: dict[str, str]) -> None:
        super().__init__(", ".join(f"{name} {reason}" for name, reason in fields.items()))
        self.fields = fields


@dataclass(frozen=True)
class PageWindow:
    """Which part of a list is wanted; pages count from 1."""

    number: int
    size: int

    @property
    def offset(self) -> int:
        """Tell how many entries come before this page."""
        return (self.number - 1) * self.size


def page_window(args: Mapping[str, str]) -> PageWindow:
    """Read ``page`` and ``size``."""
    number = whole_number(args, "page", default=1, low=1, high=MAX_PAGE)
    return PageWindow(number, whole_number(args, "size", default=12, low=1, high=MAX_PAGE_SIZE))


def whole_number(args: Mapping[str, str], name: str, *, default: int, low: int, high: int) -> int:
    """Read a whole number from low to high."""
    text = args.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and low <= int(text) <= high):
        raise InvalidRequest({name: f"must be a whole number from {low} to {high}"})
    return int(text)


def search_text(args: Mapping[str, str]) -> str:
    """Read ``q``."""
    text = args.get("q", "").strip()
    if not 1 <= len(text) <= 64:
        raise InvalidRequest({"q": "must have 1 to 64 characters"})
    return text


def new_asset(body: object, source: str = "upload") -> NewAsset:
    """Read the description of a new asset; reports every bad field at once."""
    if not isinstance(body, dict):
        raise InvalidRequest({"body": "must be a JSON object"})
    name, kind = body.get("name", ""), body.get("kind", "")
    polygons, description = body.get("polygons", 0), body.get("description", "")
    wrong: dict[str, str] = {}
    if not _is_text(name, 1, 80):
        wrong["name"] = "must be text of 1 to 80 characters"
    if kind not in KINDS:
        wrong["kind"] = "must be one of " + ", ".join(KINDS)
    if type(polygons) is not int or not 0 <= polygons <= MAX_POLYGONS:
        wrong["polygons"] = f"must be a whole number from 0 to {MAX_POLYGONS}"
    if not _is_text(description, 0, 500):
        wrong["description"] = "must be text of at most 500 characters"
    if wrong:
        raise InvalidRequest(wrong)
    return NewAsset(name.strip(), kind, polygons, description.strip(), source)


def prompt(body: object) -> str:
    """Read the prompt of a generation."""
    text = body.get("prompt") if isinstance(body, dict) else None
    if not isinstance(text, str) or not _is_text(text, 3, 300):
        raise InvalidRequest({"prompt": "must be text of 3 to 300 characters"})
    return text.strip()


def _is_text(value: object, shortest: int, longest: int) -> bool:
    if not isinstance(value, str) or len(value) > longest or len(value.strip()) < shortest:
        return False
    return _is_unicode(value)


def _is_unicode(text: str) -> bool:
    """Tell whether the text has no lone surrogates, which JSON can carry and no database can store."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
