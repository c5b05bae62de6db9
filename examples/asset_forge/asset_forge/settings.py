"""What can be set from outside, read once from a mapping into frozen records."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from limits import parse_many
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
DEFAULT_DATA_DIR = Path(__file__).resolve().parent.parent / "data"


class SettingError(ValueError):
    """A setting has a value that cannot be used; the message names variable, value and what is allowed."""

    def __init__(self, name: str, value: str, allowed: str) -> None:
        super().__init__(f"{name}={value!r} is not {allowed}.")


@dataclass(frozen=True)
class ApiSettings:
    """The settings of the asset API."""

    host: str = "127.0.0.1"
    port: int = 3004
    data_dir: Path = DEFAULT_DATA_DIR
    database_url: str = ""
    image_server_url: str = "http://127.0.0.1:3005"
    ai_upstream_url: str = "http://127.0.0.1:3006"
    image_server_timeout_s: float = 2.0
    ai_upstream_timeout_s: float = 4.0
    log_level: str = "INFO"
    meshy_api_key: str = ""
    openai_api_key: str = ""
    rate_limit: str = "100 per 15 minutes"

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> ApiSettings:
        """Read the settings; an unset or empty variable means its default.

        Raises SettingError for the first value that cannot be used.
        """
        data_dir = Path(environ.get("ASSET_FORGE_DATA_DIR") or cls.data_dir)
        return cls(
            host=environ.get("HOST") or cls.host,
            port=port(environ, "PORT", cls.port),
            data_dir=data_dir,
            database_url=sqlite_url(environ, "DATABASE_URL", data_dir),
            image_server_url=http_url(environ, "IMAGE_SERVER_URL", cls.image_server_url),
            ai_upstream_url=http_url(environ, "AI_UPSTREAM_URL", cls.ai_upstream_url),
            image_server_timeout_s=number(environ, "IMAGE_SERVER_TIMEOUT_S", cls.image_server_timeout_s, 0.05, 60),
            ai_upstream_timeout_s=number(environ, "AI_UPSTREAM_TIMEOUT_S", cls.ai_upstream_timeout_s, 0.05, 60),
            log_level=level(environ, "LOG_LEVEL", cls.log_level),
            meshy_api_key=environ.get("MESHY_API_KEY", ""),
            openai_api_key=environ.get("OPENAI_API_KEY", ""),
            rate_limit=rate_limit(environ, "RATE_LIMIT", cls.rate_limit),
        )


def number(environ: Mapping[str, str], name: str, default: float, low: float, high: float) -> float:
    """Read a finite number from low to high."""
    text = environ.get(name, "").strip()
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        raise SettingError(name, text, f"a number from {low:g} to {high:g}")
    return value


def port(environ: Mapping[str, str], name: str, default: int) -> int:
    """Read a TCP port."""
    text = environ.get(name, "").strip()
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 65535):
        raise SettingError(name, text, "a port from 1 to 65535")
    return int(text)


def level(environ: Mapping[str, str], name: str, default: str) -> str:
    """Read a log level; WARN is taken for WARNING."""
    text = environ.get(name, "").strip()
    value = {"": default, "WARN": "WARNING"}.get(text.upper(), text.upper())
    if value not in LEVELS:
        raise SettingError(name, text, "one of " + ", ".join(LEVELS))
    return value


def rate_limit(environ: Mapping[str, str], name: str, default: str) -> str:
    """Read how often a client may do something, in the words of Flask-Limiter."""
    text = environ.get(name, "").strip() or default
    try:
        parse_many(text)
    except ValueError:
        raise SettingError(name, text, "a rate limit, such as '100 per 15 minutes'") from None
    return text


def http_url(environ: Mapping[str, str], name: str, default: str) -> str:
    """Read the base URL of an HTTP service, without a trailing slash."""
    text = environ.get(name, "").strip() or default
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise SettingError(name, text, "an http:// or https:// address")
    return text.rstrip("/")


def sqlite_url(environ: Mapping[str, str], name: str, data_dir: Path) -> str:
    """Read the database address: an SQLite file, because several processes share it."""
    text = environ.get(name, "").strip()
    if not text:
        return URL.create("sqlite", database=str(data_dir / "assets.db")).render_as_string()
    try:
        url = make_url(text)
        usable = url.get_backend_name() == "sqlite" and url.database not in (None, "", ":memory:")
    except ArgumentError:
        usable = False
    if not usable:
        raise SettingError(name, text, "an SQLite file, such as sqlite:////var/lib/assets.db")
    return text
