"""Telling a running native stack to scrape the API: a target file in its Prometheus configuration."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from asset_forge.demo.services import ROOT
from asset_forge.demo.state import forge_state_dir

TARGETS_FILE = ROOT / "prometheus-scrape.yaml"


def targets_folder(environ: Mapping[str, str]) -> Path:
    """Return the folder that the native stack's Prometheus reads scrape targets from."""
    return forge_state_dir(environ) / "config" / "prometheus" / "targets" / "scrape"


def announce(environ: Mapping[str, str]) -> str:
    """Put the target file in its place, if there is a native stack; returns a line that says what was done."""
    folder = targets_folder(environ)
    if not folder.parent.is_dir():
        return f"No native stack here: let your Prometheus read {TARGETS_FILE} to scrape the API."
    folder.mkdir(exist_ok=True)
    shutil.copyfile(TARGETS_FILE, folder / TARGETS_FILE.name)
    return f"Prometheus is told to scrape the API's workers: {folder / TARGETS_FILE.name}"


def withdraw(environ: Mapping[str, str]) -> None:
    """Take the target file away again."""
    (targets_folder(environ) / TARGETS_FILE.name).unlink(missing_ok=True)
