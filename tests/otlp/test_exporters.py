"""Exporters by name: what can be had is built, what can't is one line."""

from __future__ import annotations

import sys

import pytest

from otel_forge.otlp.exporters import build_exporters, shown_address, with_known_exporters
from otel_forge.settings import Settings


def ignore(address: str, reason: str) -> None:
    """Take note of nothing."""


@pytest.mark.parametrize(
    ("environ", "names", "address"),
    [
        ({}, ["otlp_proto_http"], "http://localhost:4318"),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, ["otlp_proto_grpc"], "http://localhost:4317"),
        ({"OTEL_LOGS_EXPORTER": "console,otlp"}, ["console", "otlp_proto_http"], "console"),
        ({"OTEL_LOGS_EXPORTER": "otlp_proto_grpc"}, ["otlp_proto_grpc"], "http://localhost:4318"),
    ],
)
def test_names_and_protocols_choose_the_exporter(environ: dict[str, str], names: list[str], address: str) -> None:
    """`otlp` follows the protocol; the explicit names do not."""
    built = build_exporters(Settings.from_env(environ), "logs", pytest.fail, ignore)
    assert [exporter.name for exporter in built] == names
    assert built[0].address == address


def test_an_unknown_name_is_one_line_and_otlp_takes_over() -> None:
    """Telemetry flows with a working default."""
    said: list[str] = []
    settings = with_known_exporters(Settings.from_env({"OTEL_TRACES_EXPORTER": "jaeger"}), said.append)
    assert settings.exporters["traces"] == ("otlp",)
    assert said[0].startswith("OTEL_TRACES_EXPORTER='jaeger' is not one of otlp, none, console")
    assert said[0].endswith("; using otlp.")


def test_an_unknown_name_beside_a_known_one_costs_only_itself() -> None:
    """The others stay as they were named."""
    said: list[str] = []
    settings = with_known_exporters(Settings.from_env({"OTEL_TRACES_EXPORTER": "jaeger,console"}), said.append)
    assert settings.exporters["traces"] == ("console",)
    assert [line.endswith("; using console.") for line in said] == [True]


def test_grpc_without_its_package_becomes_http_on_the_http_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line has the command to install it."""
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.grpc.trace_exporter", None)
    said: list[str] = []
    environ = {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4317"}
    (exporter,) = build_exporters(Settings.from_env(environ), "traces", said.append, ignore)
    assert (exporter.name, exporter.address) == ("otlp_proto_http", "http://collector:4318")
    assert "pip install 'otel-forge[grpc]'" in said[0]


def test_an_address_is_shown_without_credentials() -> None:
    """What is printed at start must not hold what the URL holds before the @."""
    assert shown_address("https://user:secret@o.example:443/v1/traces?token=x") == "https://o.example:443"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://localhost:4318/v1/logs", "http://localhost:4318"),
        ("http://localhost:4318/v1/traces/v1/traces", "http://localhost:4318/v1/traces"),
        ("http://[::1]:4318/otlp/v1/metrics", "http://[::1]:4318/otlp"),
    ],
)
def test_an_unusual_path_is_shown(url: str, shown: str) -> None:
    """An address with the path of a signal set as the base for all is the commonest mistake: it must be visible."""
    assert shown_address(url) == shown
