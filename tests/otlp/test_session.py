"""The export session: reasons in words, and no connection shared across a fork."""

from __future__ import annotations

import os

import pytest
import requests

from otel_forge.otlp.session import ExportSession
from tests.otlp_receiver import OtlpReceiver, refused_url


def test_a_refused_connection_is_told_in_words() -> None:
    """Nobody needs to read a nested exception of urllib3."""
    told: list[str] = []
    session = ExportSession(told.append)
    with pytest.raises(requests.ConnectionError):
        session.post(refused_url(), data=b"")
    assert (told, session.failure) == (["connection refused"], "connection refused")


def test_a_refusing_server_is_told_with_its_status() -> None:
    """Any status from 300 on is a failure; a success clears the reason."""
    told: list[str] = []
    session = ExportSession(told.append)
    with OtlpReceiver("503") as receiver:
        session.post(f"{receiver.url}/v1/traces", data=b"")
        receiver.behaviour = "ok"
        session.post(f"{receiver.url}/v1/traces", data=b"")
    assert (told, session.failure) == (["HTTP 503 Service Unavailable"], "")


def test_a_silent_server_is_told_as_timed_out() -> None:
    """The reason of a black hole is the time-out."""
    told: list[str] = []
    with OtlpReceiver("black_hole") as receiver, pytest.raises(requests.Timeout):
        ExportSession(told.append).post(f"{receiver.url}/v1/traces", data=b"", timeout=0.1)
    assert told == ["timed out"]


def test_a_forked_child_opens_a_connection_of_its_own(receiver: OtlpReceiver) -> None:
    """Parent and child that write to one keep-alive connection would corrupt each other's requests."""
    session = ExportSession(pytest.fail)
    session.post(f"{receiver.url}/v1/traces", data=b"")
    before = session.get_adapter("http://")
    child = os.fork()
    if child == 0:
        os._exit(0 if session.get_adapter("http://") is not before else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert session.get_adapter("http://") is before
