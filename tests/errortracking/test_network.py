"""Which errors count as failed network requests."""

from __future__ import annotations

import asyncio
import email.message
import queue
import socket
import sqlite3
import urllib.error
from typing import Any

import pytest
import requests
import urllib3

from otel_forge.errortracking.network import is_network_error


def refused() -> BaseException:
    """Return what requests raises when nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    try:
        requests.get(f"http://127.0.0.1:{port}", timeout=1)
    except requests.RequestException as error:
        return error
    raise AssertionError("somebody listened")


def timed_out() -> BaseException:
    """Return what a socket raises when nothing comes."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        client.settimeout(0.01)
        try:
            client.recv(1)
        except TimeoutError as error:
            return error
    raise AssertionError("something came")


NETWORK: list[BaseException] = [
    refused(),
    timed_out(),
    ConnectionResetError(104, "Connection reset by peer"),
    BrokenPipeError(),
    socket.gaierror(-2, "Name or service not known"),
    requests.exceptions.ReadTimeout("Read timed out."),
    urllib.error.URLError("unreachable"),
    urllib3.exceptions.ProtocolError("Connection aborted."),
]
OTHERS: list[BaseException] = [
    ValueError("Connection refused"),
    TimeoutError(),
    asyncio.TimeoutError(),
    queue.Empty(),
    FileNotFoundError(2, "No such file"),
    PermissionError(13, "Permission denied"),
    sqlite3.OperationalError("database is locked"),
    requests.exceptions.HTTPError("500 Server Error"),
    requests.exceptions.MissingSchema("no scheme"),
    urllib.error.HTTPError("http://a", 500, "oops", email.message.Message(), None),
]


@pytest.mark.parametrize("error", NETWORK, ids=lambda error: type(error).__name__)
def test_what_the_network_did_not_carry(error: BaseException) -> None:
    """Refused, reset, unresolved, timed out: whichever library says it."""
    assert is_network_error(error)


@pytest.mark.parametrize("error", OTHERS, ids=lambda error: type(error).__name__)
def test_what_is_an_error_of_the_application(error: BaseException) -> None:
    """An answer with a bad status is an answer; timeouts of queues, tasks and locks are not the network's."""
    assert not is_network_error(error)


def test_an_error_that_wraps_one_matters() -> None:
    """An application that raises its own error has said so."""
    error = RuntimeError("the image server failed")
    error.__cause__ = ConnectionRefusedError()
    assert not is_network_error(error)


@pytest.mark.parametrize(
    "event",
    [
        {"message": "Network request failed"},
        {"logentry": {"message": "%s", "formatted": "TypeError: Network request failed"}},
        {"exception": {"values": [{"value": "first"}, {"value": "Network request failed"}]}},
    ],
)
def test_the_words_of_browsers(event: dict[str, Any]) -> None:
    """In the message or in the outermost exception of an event."""
    assert is_network_error(None, event)
    assert not is_network_error(None, {"exception": {"values": [{"value": "Network request failed"}, {"value": "x"}]}})


@pytest.mark.parametrize("event", [{}, {"exception": None}, {"exception": {"values": []}}, {"logentry": None}])
def test_an_event_without_words(event: dict[str, Any]) -> None:
    """Is none."""
    assert not is_network_error(None, event)
