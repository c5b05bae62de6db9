"""Ports: read from settings, refused when bad, and told apart when taken."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator

import pytest

from otel_forge.errors import PortTaken, SettingsError
from otel_forge.stack.ports import LOKI, PORTS, PROMETHEUS, check_free, describe_holder, is_free, ports_from_env
from tests.stack.bench import Bench, free_port


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A listener of this very process on a free port."""
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        opened.listen()
        yield opened


def test_defaults_are_those_of_the_table() -> None:
    """Without settings every port has its default, and no two are the same."""
    numbers = ports_from_env({})
    assert numbers == {port.key: port.default for port in PORTS}
    assert len(set(numbers.values())) == len(PORTS)


def test_a_setting_moves_one_port() -> None:
    """Blanks around it do no harm."""
    assert ports_from_env({"OTEL_FORGE_PORT_LOKI": " 13100 "}) == {**ports_from_env({}), "LOKI": 13100}


@pytest.mark.parametrize("text", ["abc", "0", "65536", "-1", "3100.0", "0x10", "٣١٠٠", "1e3", "99999999999"])
def test_a_bad_port_is_refused_with_variable_value_and_range(text: str) -> None:
    """The message says what to type instead."""
    with pytest.raises(SettingsError) as failure:
        ports_from_env({"OTEL_FORGE_PORT_LOKI": text})
    assert str(failure.value) == f"OTEL_FORGE_PORT_LOKI={text!r} is not a port from 1 to 65535."


def test_an_empty_setting_is_no_setting() -> None:
    """The specification's rule for environment variables."""
    assert ports_from_env({"OTEL_FORGE_PORT_LOKI": ""})["LOKI"] == 3100


def test_two_settings_with_one_port_are_refused_by_name() -> None:
    """A default counts, too."""
    with pytest.raises(SettingsError, match="OTEL_FORGE_PORT_PROMETHEUS and OTEL_FORGE_PORT_LOKI are both 9090"):
        ports_from_env({"OTEL_FORGE_PORT_LOKI": "9090"})


def test_a_taken_port_names_port_holder_and_setting(listener: socket.socket) -> None:
    """Who, what, what instead."""
    number = listener.getsockname()[1]
    with pytest.raises(PortTaken) as failure:
        check_free([LOKI], {"LOKI": number})
    message = str(failure.value)
    assert message.startswith(f"Port {number} (Loki) is taken by pid {os.getpid()}, ")
    assert sys.executable.rsplit("/", 1)[-1][:6] in message
    assert message.endswith("or choose another port with OTEL_FORGE_PORT_LOKI.")


def test_every_taken_port_is_named_at_once(listener: socket.socket) -> None:
    """Nobody likes to learn of them one by one."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        numbers = {"LOKI": listener.getsockname()[1], "PROMETHEUS": other.getsockname()[1]}
        with pytest.raises(PortTaken) as failure:
            check_free([PROMETHEUS, LOKI], numbers)
    assert len(str(failure.value).splitlines()) == 2


def test_a_listener_on_all_addresses_takes_the_loopback_port() -> None:
    """It would get our connections or we would fail to start."""
    with socket.socket() as opened:
        opened.bind(("0.0.0.0", 0))
        opened.listen()
        assert not is_free(opened.getsockname()[1])


def test_a_port_that_was_just_left_is_free() -> None:
    """Connections in TIME_WAIT hinder no new listener."""
    number = free_port()
    with socket.socket() as server, socket.socket() as client:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.1", number))
        server.listen()
        client.connect(("127.0.0.1", number))
        accepted, _ = server.accept()
        accepted.close()  # the side that closes first keeps the TIME_WAIT
    assert is_free(number)


def test_a_holder_of_another_stack_comes_with_the_command_that_stops_it(bench: Bench) -> None:
    """Two state folders with the same ports are a likely mistake."""
    bench.up(bench.spec("one"))
    holder = describe_holder(bench.ports["one"])
    assert holder.endswith(f"of another otel-forge stack (otel-forge down --state-dir {bench.folder.path})")
