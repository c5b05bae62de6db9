"""Settings of the example: read from a mapping, refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest
from asset_forge.settings import DEFAULT_DATA_DIR, ApiSettings, SettingError


def test_an_empty_environment_gives_the_defaults() -> None:
    """Nothing needs to be set."""
    settings = ApiSettings.from_env({})
    assert (settings.port, settings.host, settings.log_level) == (3004, "127.0.0.1", "INFO")
    assert settings.database_url == f"sqlite:///{DEFAULT_DATA_DIR}/assets.db"
    assert settings.image_server_url == "http://127.0.0.1:3005"


def test_what_is_set_is_taken() -> None:
    """Set values win; WARN is taken for WARNING; a trailing slash goes."""
    settings = ApiSettings.from_env(
        {"PORT": "81", "LOG_LEVEL": "warn", "ASSET_FORGE_DATA_DIR": "/srv", "AI_UPSTREAM_URL": "http://ai:9/"}
    )
    assert (settings.port, settings.log_level, settings.data_dir) == (81, "WARNING", Path("/srv"))
    assert (settings.database_url, settings.ai_upstream_url) == ("sqlite:////srv/assets.db", "http://ai:9")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "0"),
        ("PORT", "http"),
        ("PORT", "65536"),
        ("LOG_LEVEL", "LOUD"),
        ("IMAGE_SERVER_URL", "ftp://images"),
        ("AI_UPSTREAM_URL", "http://[::1"),
        ("AI_UPSTREAM_TIMEOUT_S", "nan"),
        ("IMAGE_SERVER_TIMEOUT_S", "-1"),
        ("DATABASE_URL", "sqlite://"),
        ("DATABASE_URL", "postgresql://somewhere/assets"),
        ("DATABASE_URL", "no address"),
        ("RATE_LIMIT", "often"),
    ],
)
def test_a_bad_setting_names_the_variable_and_the_value(name: str, value: str) -> None:
    """The message says which variable, which value, and what is allowed."""
    with pytest.raises(SettingError, match="is not ") as caught:
        ApiSettings.from_env({name: value})
    assert str(caught.value).startswith(f"{name}={value!r}")
