"""Fixtures of the command line's tests."""

from tests.stack.conftest import bench, world

__all__ = ["bench", "world"]
