"""The command `audit`: what left the process, by key and by class of secret."""

from __future__ import annotations

import gzip
import os
import time
import zlib
from contextlib import suppress
from dataclasses import replace
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import click

from otel_forge.cli.output import table
from otel_forge.errors import ForgeError
from otel_forge.redaction import Policy, build_policy
from otel_forge.redaction.audit import Audit, audit_bytes, audit_file
from otel_forge.settings import Settings

LEAKED = 3


@click.command()
@click.argument("files", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--listen", type=click.IntRange(0, 65535), help="Receive OTLP/HTTP on this port of 127.0.0.1 instead.")
@click.option("--seconds", type=click.FloatRange(min=0.1), help="End --listen after so long [default: at Ctrl-C].")
@click.option("--keys/--no-keys", default=True, show_default=True, help="List every attribute key that left.")
def audit(files: tuple[Path, ...], listen: int | None, seconds: float | None, keys: bool) -> None:
    """Show which keys and classes of values leave an app.

    FILES are recordings: what the Collector's file exporter writes (OTLP as JSON, one request a line, or as protobuf
    with the length before each request), or the body of one request.

    With --listen, start the app with OTEL_EXPORTER_OTLP_ENDPOINT at that port, use it, and read the report. What
    arrives is not passed on.

    A value that the policy of this environment's OTEL_FORGE_REDACTION_* settings would have replaced is a leak: then
    the exit code is 3.
    """
    if bool(files) == (listen is not None):
        raise click.UsageError("Give recorded files, or --listen and a port.")
    found = Audit(_policy())
    for file in files:
        try:
            audit_file(file, found)
        except ValueError as error:
            form = "OTLP as JSON lines, as length-delimited protobuf, or one request"
            raise ForgeError(f"{file} is not {form}: {error}.") from error
    if listen is not None:
        _listen(listen, seconds, found)
    if not found.records:
        raise ForgeError("Read nothing: no span, log record or metric point, so nothing can be said about secrets.")
    for line in report(found, keys=keys):
        click.echo(line)
    if found.leaks:
        raise click.exceptions.Exit(LEAKED)


def _policy() -> Policy:
    """Return the policy of this environment, on in any case."""
    return build_policy(replace(Settings.from_env(os.environ).redaction, enabled=True))


def _listen(port: int, seconds: float | None, found: Audit) -> None:
    """Take what apps send until Ctrl-C, or for `seconds`."""

    class Handler(BaseHTTPRequestHandler):
        """Audits each request and answers as a receiver does."""

        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            try:
                audit_bytes(_inflated(body, self.headers.get("Content-Encoding", "")), found)
                status = HTTPStatus.OK
            except (ValueError, OSError, zlib.error):
                status = HTTPStatus.BAD_REQUEST
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    class Server(HTTPServer):
        timeout = 0.2

    with Server(("127.0.0.1", port), Handler) as server:
        click.echo(f"Listening on http://127.0.0.1:{server.server_address[1]}", err=True)
        end = None if seconds is None else time.monotonic() + seconds
        with suppress(KeyboardInterrupt):
            while end is None or time.monotonic() < end:
                server.handle_request()


def _inflated(body: bytes, encoding: str) -> bytes:
    if encoding == "gzip":
        return gzip.decompress(body)
    return zlib.decompress(body) if encoding == "deflate" else body


def add_to(group: click.Group) -> None:
    """Add the command to a group."""
    group.add_command(audit)


def report(found: Audit, *, keys: bool) -> list[str]:
    """Return what was found, as lines."""
    records = ", ".join(f"{count} {kind}" for kind, count in sorted(found.records.items())) or "nothing"
    lines = [f"Read {records}."]
    if keys and found.keys:
        rows = [["signal", "key", "values", "of them replaced"]]
        for (signal, key), (values, replaced) in sorted(found.keys.items()):
            rows.append([signal, key, str(values), str(replaced) if replaced else "-"])
        lines += ["", *table(rows)]
    if found.replaced:
        lines += ["", "Replaced before they left, by class:"]
        lines += table([[f"  {kind}", str(count)] for kind, count in sorted(found.replaced.items())])
    if not found.leaks:
        return [*lines, "", "No value that looks like a secret left."]
    lines += ["", "Left although they look like secrets:"]
    rows = [["  signal", "key", "class", "values"]]
    rows += [[f"  {signal}", key, kind, str(count)] for (signal, key, kind), count in sorted(found.leaks.items())]
    return [*lines, *table(rows)]
