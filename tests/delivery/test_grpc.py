"""The gRPC sender against a real gRPC server of all manners: what it says of each, and that it never hangs."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]
import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.sampling import DEFAULT_ON

from otel_forge.delivery.accounts import Accounts
from otel_forge.delivery.answers import Outcome, Verdict
from otel_forge.delivery.grpc import GrpcSender, outcome_of, retry_delay
from otel_forge.delivery.patience import CutShort
from otel_forge.sdk.lean import build_lean
from otel_forge.settings import OtlpSettings, Settings
from tests.conftest import require_tool
from tests.delivery.grpc_server import fails, hang, partly_taken, serving, taken
from tests.otlp_receiver import free_port


def settings(url: str, **changes: Any) -> OtlpSettings:
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    return replace(Settings.from_env(variables).otlp["traces"], **changes)


_made: list[GrpcSender] = []


def sender(url: str, **changes: Any) -> GrpcSender:
    _made.append(GrpcSender(settings(url, **changes), "traces", at_a_time=0.02))
    return _made[-1]


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    while _made:
        _made.pop().close()


def test_a_request_arrives_as_it_is_with_the_headers_of_the_user() -> None:
    """One connection serves many; headers that gRPC would raise on, or that are its own, are left out."""
    headers = {"Api-Key": "secret", "bad name": "x", "accent": "é", "grpc-timeout": "1S", "some-bin": "x"}
    with serving(taken) as server:
        own = sender(server.address, headers=headers)
        assert own.send(b"body", ids=["a" * 16, "b" * 16]) == Outcome(Verdict.DELIVERED)
        assert own.send(b"more").verdict is Verdict.DELIVERED
    first, second = server.requests
    assert (first.method, first.body) == ("/opentelemetry.proto.collector.trace.v1.TraceService/Export", b"body")
    assert first.metadata["api-key"] == "secret"
    assert first.metadata["idempotency-key"] == "a" * 16 + "," + "b" * 16
    assert first.metadata["user-agent"].startswith("otel-forge/")
    assert not {"bad name", "accent", "some-bin"} & first.metadata.keys()
    assert "idempotency-key" not in second.metadata
    assert first.peer == second.peer


@pytest.mark.parametrize("signal", ["metrics", "logs"])
def test_each_signal_has_its_own_service(signal: Any) -> None:
    """As the OTLP specification names them."""
    with serving(taken) as server:
        own = GrpcSender(settings(server.address), signal)
        assert own.send(b"").verdict is Verdict.DELIVERED
        own.close()
    service = {"metrics": "metrics.v1.MetricsService", "logs": "logs.v1.LogsService"}[signal]
    assert server.requests[0].method == f"/opentelemetry.proto.collector.{service}/Export"


@pytest.mark.parametrize("compression", ["none", "gzip", "deflate"])
def test_what_is_compressed_arrives_as_it_was(compression: str) -> None:
    """Compression is the transport's business."""
    with serving(taken) as server:
        assert sender(server.address, compression=compression).send(b"x" * 10_000).verdict is Verdict.DELIVERED
    assert server.requests[0].body == b"x" * 10_000


@pytest.mark.gate
def test_a_partial_success_is_read() -> None:
    """R6: what was rejected is told, with the message."""
    with serving(partly_taken(3, "too old")) as server:
        assert sender(server.address).send(b"x") == Outcome(Verdict.DELIVERED, "too old", rejected=3)


@pytest.mark.gate
def test_a_message_larger_than_the_server_takes_is_to_be_cut() -> None:
    """R6: the real server's own refusal."""
    with serving(taken, max_size=1000) as server:
        own = sender(server.address)
        assert own.send(b"x" * 2000).verdict is Verdict.TOO_LARGE
        assert own.send(b"x" * 500).verdict is Verdict.DELIVERED


@pytest.mark.gate
def test_an_exhausted_server_that_says_when_is_asked_again_then() -> None:
    """R6: RetryInfo among other details; without it the specification has nothing sent again."""
    with serving(fails("RESOURCE_EXHAUSTED", "quota", wait=12.5), fails("RESOURCE_EXHAUSTED", "quota")) as server:
        own = sender(server.address)
        later = own.send(b"x")
        refused = own.send(b"x")
    assert later == Outcome(Verdict.LATER, "gRPC RESOURCE_EXHAUSTED: quota", retry_after=12.5)
    assert refused == Outcome(Verdict.REFUSED, "gRPC RESOURCE_EXHAUSTED: quota")


@pytest.mark.parametrize(
    ("code", "verdict"),
    [
        *((code, Verdict.LATER) for code in ("CANCELLED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS")),
        *(
            (code, Verdict.REFUSED)
            for code in (
                "UNKNOWN",
                "INVALID_ARGUMENT",
                "NOT_FOUND",
                "ALREADY_EXISTS",
                "PERMISSION_DENIED",
                "FAILED_PRECONDITION",
                "UNIMPLEMENTED",
                "INTERNAL",
                "UNAUTHENTICATED",
            )
        ),
    ],
)
def test_codes_mean_what_the_specification_says(code: str, verdict: Verdict) -> None:
    """OTLP/gRPC, failures."""
    assert outcome_of(code, "why\nstack trace") == Outcome(verdict, f"gRPC {code}: why")


def test_a_deadline_passed_at_the_server_is_retried() -> None:
    """And said in words."""
    assert outcome_of("DEADLINE_EXCEEDED", "Deadline Exceeded") == Outcome(Verdict.LATER, "timed out")


@pytest.mark.gate
def test_a_server_that_hangs_is_given_up_in_time_and_the_wait_is_used() -> None:
    """R6: within the deadline, calling `idle` meanwhile; the next request finds the server well again."""
    calls: list[float] = []
    with serving(hang, taken) as server:
        own = sender(server.address)
        began = time.monotonic()
        assert own.send(b"x", 0.5, idle=lambda: calls.append(time.monotonic())) == Outcome(Verdict.LATER, "timed out")
        assert time.monotonic() - began < 5
        assert len(calls) >= 3
        assert own.send(b"x").verdict is Verdict.DELIVERED


def test_a_request_can_be_cut_short_at_exit() -> None:
    """`idle` says when."""

    def cut() -> None:
        raise CutShort

    with serving(hang) as server:
        assert sender(server.address).send(b"x", 60, idle=cut) == Outcome(Verdict.LATER, "no time left at exit")


@pytest.mark.gate
def test_a_server_that_is_not_there_is_found_as_soon_as_it_is() -> None:
    """R6: the next request connects at once, whatever grpcio would like to wait."""
    port = free_port()
    own = sender(f"http://127.0.0.1:{port}")
    for _ in range(5):
        assert own.send(b"x") == Outcome(Verdict.LATER, "connection refused")
    with serving(taken, address=f"127.0.0.1:{port}"):
        assert own.send(b"x").verdict is Verdict.DELIVERED


def test_an_unknown_host_is_said_in_words() -> None:
    """No addresses, no stack traces of grpcio."""
    outcome = sender("http://no-such-host.invalid:4317").send(b"x")
    assert outcome == Outcome(Verdict.LATER, "name resolution failed")


@pytest.mark.parametrize(
    ("url", "insecure", "plain"),
    [
        ("http://collector:4317", False, True),
        ("https://collector:4317", True, False),
        ("collector:4317", True, True),
        ("collector:4317", False, False),
    ],
)
def test_the_scheme_decides_on_tls_and_the_setting_where_there_is_none(url: str, insecure: bool, plain: bool) -> None:
    """Specification: OTLP exporter, endpoint and insecure."""
    own = GrpcSender(replace(settings("http://x:1"), endpoint=url, insecure=insecure), "traces")
    assert (own._is_plain, own._target) == (plain, "collector:4317")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that is its own authority."""
    folder = tmp_path_factory.mktemp("certificates")
    command = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    subprocess.run([str(require_tool("openssl")), *command.split(), *files], check=True, capture_output=True)
    return folder


def server_credentials(folder: Path, *, ask_client: bool = False) -> Any:
    key, certificate = (folder / "key.pem").read_bytes(), (folder / "cert.pem").read_bytes()
    return grpc.ssl_server_credentials([(key, certificate)], certificate if ask_client else None, ask_client)


@pytest.mark.gate
def test_tls_with_an_authority_of_the_users_own(certificates: Path) -> None:
    """R6: without the authority the server is not trusted."""
    with serving(taken, credentials=server_credentials(certificates)) as server:
        trusting = sender(server.address, certificate=str(certificates / "cert.pem"))
        assert trusting.send(b"x").verdict is Verdict.DELIVERED
        assert sender(server.address).send(b"x") == Outcome(Verdict.LATER, "certificate not trusted")


def test_mutual_tls(certificates: Path) -> None:
    """The client shows its certificate when it has one."""
    authority = str(certificates / "cert.pem")
    with serving(taken, credentials=server_credentials(certificates, ask_client=True)) as server:
        known = sender(
            server.address,
            certificate=authority,
            client_certificate=authority,
            client_key=str(certificates / "key.pem"),
        )
        assert known.send(b"x").verdict is Verdict.DELIVERED
        assert sender(server.address, certificate=authority).send(b"x", 3).verdict is Verdict.LATER


def test_a_certificate_file_that_is_gone_keeps_the_data() -> None:
    """It may come back."""
    outcome = sender("https://127.0.0.1:1", certificate="/no/such/file").send(b"x")
    assert outcome.verdict is Verdict.LATER


@pytest.mark.parametrize(
    "broken",
    [b"\x1a", b"\x1a\x02\x08", b"\xff" * 12, b"\x18\x05", bytes([0x1A, 2, 0x0A, 0x00])],
)
def test_details_that_cannot_be_read_are_no_reason_to_fail(broken: bytes) -> None:
    """They count as not there."""
    assert retry_delay([("grpc-status-details-bin", broken)]) is None


_FORKING = """
import os, sys
from otel_forge.delivery.grpc import GrpcSender
from otel_forge.settings import Settings
own = GrpcSender(Settings.from_env(dict(os.environ)).otlp["traces"], "traces")
assert own.send(b"parent").verdict.value == "delivered"
for number in range(20):
    child = os.fork()
    if child == 0:
        outcome = own.send(b"child %d" % number, 8)
        os._exit(0 if outcome.verdict.value == "delivered" else 1)
    assert os.waitpid(child, 0)[1] == 0, number
assert own.send(b"parent again").verdict.value == "delivered"
own.close()
"""


@pytest.mark.gate
def test_parent_and_forked_children_each_have_a_connection_of_their_own() -> None:
    """R5: after the parent has sent already; nobody hangs, and every request arrives once."""
    with serving(taken) as server:
        environ = {
            **os.environ,
            "OTEL_EXPORTER_OTLP_ENDPOINT": server.address,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
        }
        subprocess.run([sys.executable, "-c", _FORKING], env=environ, check=True, timeout=60)
    bodies = [request.body for request in server.requests]
    assert sorted(bodies) == sorted([b"parent", b"parent again", *(b"child %d" % number for number in range(20))])


@pytest.mark.gate
def test_all_signals_go_over_grpc_with_the_same_accounts(tmp_path: Path) -> None:
    """R1, R6: the lean pipeline as the settings build it; oversize is halved, partial success counted."""
    rejecting = partly_taken(1, "one too many")

    def behave(context: Any, ending: Any) -> bytes:
        return rejecting(context, ending) if server.requests[-1].method.endswith("TraceService/Export") else b""

    with serving(behave, max_size=4000) as server:
        chosen = Settings.from_env(
            {
                "OTEL_EXPORTER_OTLP_ENDPOINT": server.address,
                "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
                "OTEL_FORGE_SPOOL_DIR": str(tmp_path),
                "OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED": "false",
            }
        )
        accounts = Accounts()
        lean = build_lean(chosen, Resource({"service.name": "grpc"}), accounts, sampler=DEFAULT_ON)
        for number in range(100):
            lean.tracer_provider.get_tracer("t").start_span(f"a span of some length {number}").end()
        lean.logger_provider.get_logger("l").emit(body="hello")
        lean.meter_provider.get_meter("m").create_counter("users").add(1)
        lean.force_flush(10)
        lean.shutdown(2)
    spans = accounts.of("traces")
    parts = [request for request in server.requests if "TraceService" in request.method]
    assert len(parts) > 1
    assert (spans.created, spans.delivered, spans.dropped) == (100, 100 - len(parts), {"rejected": len(parts)})
    assert (accounts.of("logs").delivered, accounts.of("logs").held) == (1, 0)
    assert accounts.of("metrics").delivered >= 1
