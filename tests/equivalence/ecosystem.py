"""Instrumentations of the ecosystem on upstream's tracer and on ours: the same calls, and what processors saw.

``python -m tests.equivalence.ecosystem FILE``, with the dependency group of that name to be imported, writes for each
case the facts of all spans through both, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

os.environ["OTEL_SEMCONV_STABILITY_OPT_IN"] = "http,database"  # read when the first instrumentation is imported

import httpx
import jinja2
import sqlalchemy
import urllib3
from opentelemetry import baggage, context, propagate, trace
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.instrumentation.jinja2 import Jinja2Instrumentor
from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
from opentelemetry.instrumentation.threading import ThreadingInstrumentor
from opentelemetry.instrumentation.urllib3 import URLLib3Instrumentor
from opentelemetry.sdk.trace import TracerProvider

from tests.otlp_receiver import refused_url
from tests.sdk.pairs import RESOURCE, CountingIds, Watching, all_facts, lean_provider

Case = Callable[["Site"], object]
NOBODY = refused_url()
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Site:
    """Where a case runs: a provider, and a server that keeps the headers of trace context that it gets."""

    def __init__(self, provider: Any, url: str, headers: list[Any]) -> None:
        self.provider = provider
        self.tracer = provider.get_tracer("case")
        self.url = url
        self.headers = headers


@contextmanager
def switched_on(instrumentor: Any, site: Site, **options: Any) -> Iterator[None]:
    """Let `instrumentor` record with the provider of `site`, also where the library is newer than it knows."""
    instrumentor.instrument(tracer_provider=site.provider, skip_dep_check=True, **options)
    try:
        yield
    finally:
        instrumentor.uninstrument()


def sqlalchemy_statements(site: Site) -> None:
    """Connect, write, read and fail, outside and inside a span, with commented statements."""
    engine = sqlalchemy.create_engine("sqlite://", poolclass=sqlalchemy.pool.StaticPool)
    with switched_on(SQLAlchemyInstrumentor(), site, engine=engine, enable_commenter=True):
        with engine.begin() as connection:
            connection.execute(sqlalchemy.text("CREATE TABLE things (id INTEGER, name TEXT)"))
            rows = [{"id": number, "name": str(number)} for number in range(3)]
            connection.execute(sqlalchemy.text("INSERT INTO things VALUES (:id, :name)"), rows)
        with site.tracer.start_as_current_span("a unit of work"), engine.connect() as connection:
            connection.execute(sqlalchemy.text("SELECT * FROM things WHERE id = :id"), {"id": 1}).all()
            with suppress(sqlalchemy.exc.OperationalError):
                connection.execute(sqlalchemy.text("SELECT nothing FROM nowhere"))


def httpx_requests(site: Site) -> None:
    """Get, post, miss, meet nobody; with hooks, inside a span, with baggage."""

    def asked(span: Any, request: Any) -> None:
        span.set_attribute("hook.method", str(request.method))

    def answered(span: Any, request: Any, response: Any) -> None:
        span.add_event("answered", {"hook.status": str(response[0])})

    token = context.attach(baggage.set_baggage("user", "ada"))
    with (
        switched_on(HTTPXClientInstrumentor(), site, request_hook=asked, response_hook=answered),
        httpx.Client(trust_env=False) as client,
        site.tracer.start_as_current_span("a unit of work"),
    ):
        client.get(site.url + "/ok?query=1")
        client.post(site.url + "/missing", content=b"body")
        with suppress(httpx.ConnectError):
            client.get(NOBODY)
    context.detach(token)


def httpx_asynchronous(site: Site) -> None:
    """Two requests at the same time, below one span."""

    async def one(client: httpx.AsyncClient, path: str) -> None:
        await client.get(site.url + path)

    async def both() -> None:
        async with httpx.AsyncClient(trust_env=False) as client:
            with site.tracer.start_as_current_span("a unit of work"):
                await one(client, "/ok")
                await asyncio.gather(one(client, "/missing"))

    with switched_on(HTTPXClientInstrumentor(), site):
        asyncio.run(both())


def urllib3_requests(site: Site) -> None:
    """Get, miss, meet nobody, below a remote parent."""
    parent = propagate.extract({"traceparent": TRACEPARENT, "tracestate": "vendor=1"})
    with (
        switched_on(URLLib3Instrumentor(), site),
        urllib3.PoolManager(retries=False) as pool,
        site.tracer.start_as_current_span("a unit of work", context=parent),
    ):
        pool.request("GET", site.url + "/ok")
        pool.request("POST", site.url + "/missing", body=b"body")
        with suppress(urllib3.exceptions.HTTPError):
            pool.request("GET", NOBODY)


def urllib3_not_sampled(site: Site) -> None:
    """Nothing is recorded, and the decision is passed on."""
    parent = propagate.extract({"traceparent": TRACEPARENT[:-1] + "0"})
    with (
        switched_on(URLLib3Instrumentor(), site),
        urllib3.PoolManager() as pool,
        site.tracer.start_as_current_span("a unit of work", context=parent),
    ):
        pool.request("GET", site.url + "/ok")


def jinja2_templates(site: Site) -> None:
    """Compile, load, render and fail."""
    loader = jinja2.DictLoader({"page": "{% include 'part' %} {{ name }}", "part": "part", "fails": "{{ 1 / 0 }}"})
    with switched_on(Jinja2Instrumentor(), site):
        environment = jinja2.Environment(loader=loader, autoescape=True)
        environment.get_template("page").render(name="ada")
        with suppress(ZeroDivisionError), site.tracer.start_as_current_span("a unit of work"):
            environment.get_template("fails").render()


def threads(site: Site) -> None:
    """Spans of threads and pools belong to whoever started them."""

    def work(name: str) -> None:
        with site.tracer.start_as_current_span(name):
            trace.get_current_span().add_event("done")

    with switched_on(ThreadingInstrumentor(), site), site.tracer.start_as_current_span("a unit of work"):
        thread = threading.Thread(target=work, args=("of a thread",))
        thread.start()
        thread.join()
        with ThreadPoolExecutor(1) as pool:
            pool.submit(work, "of a pool").result()


CASES: dict[str, Case] = {
    case.__name__: case
    for case in (
        sqlalchemy_statements,
        httpx_requests,
        httpx_asynchronous,
        urllib3_requests,
        urllib3_not_sampled,
        jinja2_templates,
        threads,
    )
}


class _Server(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.headers: list[Any] = []


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.headers.append([self.headers[name] for name in ("traceparent", "tracestate", "baggage")])  # type: ignore[attr-defined]
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(404 if self.path == "/missing" else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def main(path: Path) -> None:
    """Run every case on both providers and write what was seen."""
    with _Server() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_address[1]
        results = {name: [_seen(case, server, lean) for lean in (False, True)] for name, case in CASES.items()}
        path.write_text(json.dumps(results, default=str).replace(f":{port}", ":port").replace(f" {port}", " 0"))
        server.shutdown()


def _seen(case: Case, server: _Server, lean: bool) -> list[Any]:
    """Return the facts of the spans of `case`, in order of their end, and the headers that went out."""
    watching = Watching()
    provider: Any = (
        lean_provider(id_generator=CountingIds())
        if lean
        else TracerProvider(resource=RESOURCE, id_generator=CountingIds(), shutdown_on_exit=False)
    )
    provider.add_span_processor(watching)
    server.headers = []
    case(Site(provider, f"http://127.0.0.1:{server.server_address[1]}", server.headers))
    return [list(all_facts(watching.ended)), server.headers]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
