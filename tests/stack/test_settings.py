"""The settings of the stack."""

from __future__ import annotations

from pathlib import Path

import pytest

from otel_forge.errors import SettingsError
from otel_forge.stack.settings import StackSettings

HOME = {"HOME": "/home/ada"}


def test_folders_follow_our_setting_then_xdg_then_the_home_folder() -> None:
    """In this order."""
    read = StackSettings.from_env
    assert read(HOME).state_dir == Path("/home/ada/.local/state/otel-forge")
    assert read(HOME).cache_dir == Path("/home/ada/.cache/otel-forge")
    xdg = {**HOME, "XDG_STATE_HOME": "/s", "XDG_CACHE_HOME": "/c"}
    assert (read(xdg).state_dir, read(xdg).cache_dir) == (Path("/s/otel-forge"), Path("/c/otel-forge"))
    own = {**xdg, "OTEL_FORGE_STATE_DIR": "/state", "OTEL_FORGE_CACHE_DIR": "/cache"}
    assert (read(own).state_dir, read(own).cache_dir) == (Path("/state"), Path("/cache"))


def test_a_relative_xdg_folder_is_ignored() -> None:
    """As the XDG specification has it."""
    assert StackSettings.from_env({**HOME, "XDG_STATE_HOME": "s"}).state_dir == Path(
        "/home/ada/.local/state/otel-forge"
    )


def test_a_relative_state_folder_is_made_absolute() -> None:
    """The supervisor works in another folder than the user."""
    assert StackSettings.from_env({"OTEL_FORGE_STATE_DIR": "here"}).state_dir == Path.cwd() / "here"


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("OTEL_FORGE_RETENTION", "15 days", "a time such as 15d"),
        ("OTEL_FORGE_RETENTION", "0d", "a time such as 15d"),
        ("OTEL_FORGE_RETENTION_SIZE", "4", "a size such as 4GB"),
        ("OTEL_FORGE_RETENTION_LOGS", "7d", "a time in hours such as 168h"),
        ("OTEL_FORGE_RETENTION_TRACES", "two", "a time in hours such as 48h"),
        ("OTEL_FORGE_ALERTING", "both", "one of grafana, prometheus"),
    ],
)
def test_a_bad_value_is_refused_with_variable_value_and_what_is_allowed(name: str, value: str, allowed: str) -> None:
    """The message says what to type instead."""
    with pytest.raises(SettingsError) as failure:
        StackSettings.from_env({name: value})
    assert str(failure.value) == f"{name}={value!r} is not {allowed}."


def test_a_config_folder_must_be_there(tmp_path: Path) -> None:
    """A typing error must not be taken for a wish for the default."""
    assert StackSettings.from_env({"OTEL_FORGE_CONFIG_DIR": str(tmp_path)}).config_dir == tmp_path
    with pytest.raises(SettingsError, match="OTEL_FORGE_CONFIG_DIR='/not/there' is not a folder."):
        StackSettings.from_env({"OTEL_FORGE_CONFIG_DIR": "/not/there"})
