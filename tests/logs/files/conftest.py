"""Fixtures and a clock for the log files' tests."""

from __future__ import annotations

import gzip
import logging
from pathlib import Path

import pytest

NOON = 1_795_435_200.0
"""2026-11-23T12:00:00Z."""
TODAY = "2026-11-23"
DAY = 86400.0


class Clock:
    """A clock that stands until it is set."""

    def __init__(self, now: float = NOON) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class MessageView:
    """A view that writes the message and nothing else."""

    def line(self, record: logging.LogRecord) -> str:
        return record.getMessage()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "logs"


def text_of(path: Path) -> str:
    """Return what a log file holds, packed or not."""
    return (gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()).decode()


def names_in(folder: Path) -> list[str]:
    """Return the names of all log files of a folder; lock files are not for readers."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def record(message: str) -> logging.LogRecord:
    return logging.makeLogRecord({"msg": message, "levelno": logging.INFO, "levelname": "INFO", "name": "shop"})
