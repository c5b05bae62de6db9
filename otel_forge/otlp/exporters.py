"""The exporters of a signal, by the names in ``OTEL_*_EXPORTER``.

A name that cannot be had costs only itself: it is said in one line, and if nothing else is left, OTLP takes its
place.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from otel_forge import plugins
from otel_forge.settings import SIGNALS, OtlpSettings, Settings, Signal

Complain = Callable[[str], None]
OnFailure = Callable[[str, str], None]  # address, reason

_SIGNAL_PATH = re.compile(r"/v1/(traces|metrics|logs)/?$")
HTTP, GRPC, CONSOLE, SCRAPE = "otlp_proto_http", "otlp_proto_grpc", "console", "prometheus"


@dataclass(frozen=True)
class Exporter:
    """An upstream exporter, its name, the address it sends to, and why its last request failed (empty: it did not)."""

    name: str
    implementation: Any
    address: str
    failure: Callable[[], str]

    @property
    def is_remote(self) -> bool:
        """Whether records leave the process through it, so that it may fail and its losses are counted."""
        return self.name != CONSOLE


def shown_address(url: str) -> str:
    """Return `url` as a person needs to see it: no credentials, no query, and no /v1/<signal> at its end."""
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}{port}{_SIGNAL_PATH.sub('', parts.path).rstrip('/')}"


def with_known_exporters(settings: Settings, complain: Complain) -> Settings:
    """Return the settings with only such exporters as can be had; others are said, and otlp serves if none is left."""
    return replace(settings, exporters={signal: _known(settings, signal, complain) for signal in SIGNALS})


def _known(settings: Settings, signal: Signal, complain: Complain) -> tuple[str, ...]:
    wanted = settings.exporters[signal]
    always = {"otlp", HTTP, GRPC, *([SCRAPE] if signal == "metrics" else [])}
    known = tuple(name for name in wanted if name.lower() in always or plugins.find(_group(signal), name))
    for name in wanted:
        if name not in known:
            offered = ", ".join(dict.fromkeys(["otlp", "none", *plugins.installed(_group(signal))]))
            complain(
                f"OTEL_{signal.upper()}_EXPORTER={name!r} is not one of {offered}; using {','.join(known) or 'otlp'}."
            )
    return known or ("otlp",) if wanted else ()


def build_exporters(settings: Settings, signal: Signal, complain: Complain, on_failure: OnFailure) -> list[Exporter]:
    """Return the exporters that the settings name for `signal`; the scrape endpoint is not one of them.

    `complain` is told what cannot be started, at once; `on_failure` each request that fails later, from an export
    thread.
    """
    wanted = [name for name in settings.exporters[signal] if not (signal == "metrics" and name.lower() == SCRAPE)]
    exporters = [exporter for name in wanted if (exporter := _build(settings, signal, name, complain, on_failure))]
    if exporters:
        from otel_forge.otlp.redacted_export import redact_exports

        for exporter in exporters:
            redact_exports(exporter.implementation, signal)
    return exporters


def _build(settings: Settings, signal: Signal, name: str, complain: Complain, on_failure: OnFailure) -> Exporter | None:
    kind = name.lower()
    if kind == "otlp":
        kind = GRPC if settings.otlp[signal].protocol == "grpc" else HTTP
    if kind == HTTP:
        return _otlp_http(settings.otlp[signal], signal, on_failure)
    if kind == GRPC:
        return _otlp_grpc(settings.otlp[signal], signal, complain, on_failure)
    return _plugin(signal, name, complain)


def _otlp_http(otlp: OtlpSettings, signal: Signal, on_failure: OnFailure) -> Exporter:
    from otel_forge.otlp.session import ExportSession  # brings requests, 50 ms that the lean pipeline never needs

    address = shown_address(otlp.endpoint)
    session = ExportSession(lambda reason: on_failure(address, reason))
    build = plugins.load(_group(signal), HTTP)
    implementation = build(endpoint=otlp.endpoint, timeout=otlp.timeout, headers=dict(otlp.headers), session=session)
    return Exporter(HTTP, implementation, address, lambda: session.failure)


def _otlp_grpc(otlp: OtlpSettings, signal: Signal, complain: Complain, on_failure: OnFailure) -> Exporter:
    try:
        build = plugins.load(_group(signal), GRPC)
    except (LookupError, ImportError):
        instead = _http_instead_of_grpc(otlp, signal)
        complain(
            f"OTLP over gRPC for {signal} needs a package that is not installed: pip install 'otel-forge[grpc]'. "
            f"Using http/protobuf to {shown_address(instead.endpoint)}."
        )
        return _otlp_http(instead, signal, on_failure)
    implementation = build(
        endpoint=otlp.endpoint, timeout=otlp.timeout, insecure=otlp.insecure or otlp.endpoint.startswith("http://")
    )
    return Exporter(GRPC, implementation, shown_address(otlp.endpoint), lambda: "no answer over gRPC")


def _http_instead_of_grpc(otlp: OtlpSettings, signal: Signal) -> OtlpSettings:
    """Return the settings for HTTP at the same host: the standard port 4317 becomes 4318."""
    parts = urlsplit(otlp.endpoint)
    netloc = f"{parts.netloc[: -len('4317')]}4318" if parts.port == 4317 else parts.netloc
    endpoint = urlunsplit((parts.scheme, netloc, f"{parts.path.rstrip('/')}/v1/{signal}", "", ""))
    return OtlpSettings(**{**vars(otlp), "endpoint": endpoint, "protocol": "http/protobuf"})


def _plugin(signal: Signal, name: str, complain: Complain) -> Exporter | None:
    try:
        implementation = plugins.load(_group(signal), name)()
    except Exception as error:  # noqa: BLE001 - whatever a third-party exporter raises costs only itself
        complain(f"OTEL_{signal.upper()}_EXPORTER={name!r} cannot be started ({type(error).__name__}: {error}).")
        return None
    return Exporter(name, implementation, name, lambda: "no reason given")


def _group(signal: Signal) -> str:
    return f"opentelemetry_{signal}_exporter"
