"""Scenes for the variables and options of upstream's instrumentations: what they are set to, and traffic that shows it.

``python -m tests.instruments.variables upstream|lean FILE`` plays every scene, each in a fork that sees nothing of the
others, and writes as JSON what arrived at an OTLP receiver, and what the scene has noted by itself.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import Any

from tests.instruments.telemetry import PIPELINES, Setting
from tests.otlp_receiver import OtlpReceiver

Run = Callable[[], None]

CONVENTIONS = {
    "OTEL_SEMCONV_STABILITY_OPT_IN": "http,database",
    "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "delta",
}
IMPORTED_BEFORE = (
    "flask",
    "requests",
    "opentelemetry.exporter.otlp.proto.http._log_exporter",
    "opentelemetry.exporter.otlp.proto.http.metric_exporter",
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "opentelemetry.instrumentation.sqlcommenter_utils",
    "opentelemetry.sdk._logs.export",
    "opentelemetry.sdk.metrics.export",
    "otel_forge.sdk.lean",
    "tests.instruments.seen",
)
"""What takes long to import, and reads no variable of an instrumentation: once, before the forks."""

notes: list[Any] = []
"""What a scene saw while it was played."""


@dataclass(frozen=True)
class Scene:
    """Variables, options by library, and the traffic."""

    run: Run
    environ: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


SCENES: dict[str, Scene] = {}


def scene(
    name: str,
    run: Run,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    environ: Mapping[str, str] | None = None,
) -> None:
    """Add a scene."""
    SCENES[name] = Scene(run, environ or {}, options or {})


# -- servers ---------------------------------------------------------------------------------------------------------


def served(*requests: tuple[str, str], within: str = "", **headers: str) -> Run:
    """Return traffic of `requests` (method and path) to an app, inside a span if `within` names one."""

    def run() -> None:
        from opentelemetry import trace

        client = _app().test_client()
        around: Any = trace.get_tracer("case").start_as_current_span(within) if within else contextlib.nullcontext()
        with around:
            for method, path in requests:
                sent = {name.replace("_", "-"): value for name, value in headers.items()}
                client.open(path, method=method, headers=sent).close()

    return run


def _app() -> Any:
    import flask
    from opentelemetry import trace
    from opentelemetry.instrumentation.sqlcommenter_utils import _add_sql_comment

    app = flask.Flask("case")

    @app.route("/hello/<name>", methods=["GET", "POST", "BREW"])
    def hello(name: str) -> Any:
        with trace.get_tracer("case").start_as_current_span("inside"):
            return flask.Response(name, headers=[("X-Answer", "a"), ("X-Answer", "b"), ("X-Secret-Answer", "c")])

    @app.get("/health")
    def health() -> str:
        with trace.get_tracer("case").start_as_current_span("inside"):
            return "fine"

    @app.get("/comment")
    def comment() -> str:
        notes.append(_add_sql_comment("SELECT 1;", db_driver="none"))
        return ""

    @app.get("/shown/<int:code>")
    def shown(code: int) -> Any:
        span: Any = trace.get_current_span()
        span.set_attribute("own", code)
        notes.append(dict(span.attributes))
        return "", code, {"X-Answer": "a"}

    @app.get("/ended")
    def ended() -> str:
        trace.get_current_span().set_attribute("own", 1)
        trace.get_current_span().end()
        return ""

    return app


HEALTH = served(("GET", "/hello/you"), ("GET", "/health"), ("GET", "/health?deep=1"))
ANSWER = served(("GET", "/hello/you"), X_Captured="seen", X_Secret_Token="hide", X_Other="no")
METHODS = served(("GET", "/hello/you"), ("get", "/hello/you"), ("BREW", "/hello/you"), ("brew", "/nowhere"))
HEADERS = "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS"

for _name, _environ in {
    "own": {"OTEL_PYTHON_FLASK_EXCLUDED_URLS": "health"},
    "general": {"OTEL_PYTHON_EXCLUDED_URLS": "hel+o, he[a-z]lth "},
    "own_before_general": {"OTEL_PYTHON_FLASK_EXCLUDED_URLS": "deep", "OTEL_PYTHON_EXCLUDED_URLS": "hello"},
    "own_empty": {"OTEL_PYTHON_FLASK_EXCLUDED_URLS": "", "OTEL_PYTHON_EXCLUDED_URLS": "health"},
    "with_host_and_query": {"OTEL_PYTHON_FLASK_EXCLUDED_URLS": r"^http://localhost/health\?deep=1$"},
    "with_comma": {"OTEL_PYTHON_FLASK_EXCLUDED_URLS": "/(health,hello)/y"},
    "in_capitals": {"OTEL_PYTHON_FLASK_EXCLUDED_URLS": "HEALTH"},
}.items():
    scene(f"server_excluded_{_name}", HEALTH, environ=_environ)
scene(
    "server_excluded_by_option",
    HEALTH,
    {"flask": {"excluded_urls": "deep"}},
    environ={"OTEL_PYTHON_FLASK_EXCLUDED_URLS": "hello"},
)
scene(
    "server_excluded_by_empty_option",
    HEALTH,
    {"flask": {"excluded_urls": ""}},
    environ={"OTEL_PYTHON_EXCLUDED_URLS": "hello"},
)
scene("server_request_headers", ANSWER, environ={f"{HEADERS}_SERVER_REQUEST": "x-captured, User-.*"})
scene("server_response_headers", ANSWER, environ={f"{HEADERS}_SERVER_RESPONSE": "X-ANSWER,content-type,answer"})
scene(
    "server_headers_sanitized",
    ANSWER,
    environ={
        f"{HEADERS}_SERVER_REQUEST": "X-.*",
        f"{HEADERS}_SERVER_RESPONSE": "x-.*",
        f"{HEADERS}_SANITIZE_FIELDS": "SECRET",
    },
)
scene(
    "server_headers_inside_a_span",
    served(("GET", "/hello/you"), within="around", X_Captured="seen"),
    environ={f"{HEADERS}_SERVER_REQUEST": "x-.*", f"{HEADERS}_SERVER_RESPONSE": "x-.*"},
)
scene("server_as_it_is", HEALTH)
scene("server_headers_as_they_are", ANSWER)
scene("server_methods", METHODS)
scene("server_all_methods", METHODS, environ={"OTEL_PYTHON_INSTRUMENTATION_HTTP_CAPTURE_ALL_METHODS": "true"})
scene("server_all_methods_false", METHODS, environ={"OTEL_PYTHON_INSTRUMENTATION_HTTP_CAPTURE_ALL_METHODS": "false"})
scene("server_query", served(("GET", "/hello/you?sig=abc&AWSAccessKeyId=1")))
scene("server_excluded_with_comma_at_the_end", HEALTH, environ={"OTEL_PYTHON_FLASK_EXCLUDED_URLS": "health,"})
scene(
    "server_headers_sanitized_with_comma_at_the_end",
    ANSWER,
    environ={
        f"{HEADERS}_SERVER_REQUEST": "X-.*",
        f"{HEADERS}_SERVER_RESPONSE": "x-.*",
        f"{HEADERS}_SANITIZE_FIELDS": "SECRET,",
    },
)


def set_late() -> None:
    """Set variables when the instrumentations are on."""
    os.environ[f"{HEADERS}_SERVER_REQUEST"] = "x-captured"
    os.environ["OTEL_PYTHON_INSTRUMENTATION_HTTP_CAPTURE_ALL_METHODS"] = "true"
    served(("BREW", "/hello/you"), X_Captured="seen")()


def rename_server(span: Any, environ: Any) -> None:
    """A request hook that sets what the instrumentation sets, too."""
    span.set_attribute("server.address", "by the hook")


scene("server_set_late", set_late)
scene("server_attributes_set_by_the_hook", HEALTH, {"flask": {"request_hook": rename_server}})
_commenting: dict[str, dict[str, Any]] = {
    "default": {},
    "off": {"enable_commenter": False},
    "without_route": {"commenter_options": {"route": False}},
    "without_framework": {"commenter_options": {"framework": False, "controller": True}},
}
for _name, _options in _commenting.items():
    scene(f"commenter_{_name}", served(("GET", "/comment")), {"flask": _options})
scene("server_hooks_that_are_none", HEALTH, {"flask": {"request_hook": "text", "response_hook": 1}})


# -- what the span shows while it records ------------------------------------------------------------------------------


def note_span(span: Any, *_: Any) -> None:
    """A hook, for requests or responses, of servers or clients."""
    notes.append(dict(span.attributes))


def tell_processor() -> None:
    """Let a processor of others note what spans show when they start and when they have ended."""
    from opentelemetry import trace
    from opentelemetry.sdk.trace import SpanProcessor

    class Noting(SpanProcessor):
        def on_start(self, span: Any, parent_context: Any = None) -> None:
            notes.append(["start", dict(span.attributes)])

        def on_end(self, span: Any) -> None:
            notes.append(["end", dict(span.attributes)])

    provider: Any = trace.get_tracer_provider()
    provider.add_span_processor(Noting())
    served(("GET", "/shown/200"), ("GET", "/hello/you"))()


SHOWN = served(("GET", "/shown/200?a=1"), ("GET", "/shown/500"), X_Captured="seen")
scene("shown_to_server_hooks", SHOWN, {"flask": {"request_hook": note_span, "response_hook": note_span}})
scene("shown_in_a_view", SHOWN)
scene(
    "shown_with_headers",
    SHOWN,
    {"flask": {"response_hook": note_span}},
    environ={f"{HEADERS}_SERVER_REQUEST": "x-captured", f"{HEADERS}_SERVER_RESPONSE": "x-answer"},
)
scene("shown_inside_a_span", served(("GET", "/shown/200"), within="around"))
scene("shown_to_a_processor", tell_processor)
scene("ended_by_the_application", served(("GET", "/ended")))


# -- clients -----------------------------------------------------------------------------------------------------------


class _Service(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(404 if "missing" in self.path else 200)
        self.send_header("X-Answer", "a")
        self.send_header("X-Secret-Answer", "b")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_BREW = do_brew = do_GET

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def called(*requests: tuple[str, str], **headers: str | bytes) -> Run:
    """Return traffic of `requests` (method and path) to a service."""

    def run() -> None:
        import requests as library

        service = ThreadingHTTPServer(("127.0.0.1", 0), _Service)
        Thread(target=service.serve_forever, daemon=True).start()
        with library.Session() as session:
            session.headers["User-Agent"] = "scenes/1"
            session.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
            for method, path in requests:
                prepared = session.prepare_request(
                    library.Request(method, f"http://user:word@127.0.0.1:{service.server_address[1]}{path}")
                )
                prepared.method = method
                session.send(prepared, timeout=5)
        notes.append({"port": service.server_address[1]})

    return run


def called_with_bytes() -> None:
    """Send a header whose value is bytes."""
    called(("GET", "/hello"), X_Captured=b"seen")()


CALLS = called(("GET", "/hello"), ("GET", "/health"), ("GET", "/missing"))
CALL = called(("GET", "/hello"), X_Captured="seen", X_Secret_Token="hide")
for _name, _environ in {
    "own": {"OTEL_PYTHON_REQUESTS_EXCLUDED_URLS": "health"},
    "general": {"OTEL_PYTHON_EXCLUDED_URLS": "hel+o,missing$"},
    "own_before_general": {"OTEL_PYTHON_REQUESTS_EXCLUDED_URLS": "hello", "OTEL_PYTHON_EXCLUDED_URLS": "health"},
    "own_empty": {"OTEL_PYTHON_REQUESTS_EXCLUDED_URLS": "", "OTEL_PYTHON_EXCLUDED_URLS": "health"},
}.items():
    scene(f"client_excluded_{_name}", CALLS, environ=_environ)
scene(
    "client_excluded_by_option",
    CALLS,
    {"requests": {"excluded_urls": "hello,127.0.0.1.*missing"}},
    environ={"OTEL_PYTHON_REQUESTS_EXCLUDED_URLS": "health"},
)
scene("client_as_it_is", CALLS)
scene("client_headers_as_they_are", CALL)
scene("client_request_headers", CALL, environ={f"{HEADERS}_CLIENT_REQUEST": "x-captured,USER-AGENT"})
scene("client_header_of_bytes", called_with_bytes, environ={f"{HEADERS}_CLIENT_REQUEST": "x-captured"})
scene("client_response_headers", CALL, environ={f"{HEADERS}_CLIENT_RESPONSE": "x-answer, content-.*"})
scene(
    "client_headers_sanitized",
    CALL,
    environ={
        f"{HEADERS}_CLIENT_REQUEST": "x-.*",
        f"{HEADERS}_CLIENT_RESPONSE": "x-.*",
        f"{HEADERS}_SANITIZE_FIELDS": ".*secret.*,captured",
    },
)
_BREWED = called(("GET", "/hello"), ("BREW", "/hello"), ("brew", "/hello"))
scene("client_methods", _BREWED)
scene("client_all_methods", _BREWED, environ={"OTEL_PYTHON_INSTRUMENTATION_HTTP_CAPTURE_ALL_METHODS": "1"})
scene(
    "client_secrets",
    called(
        *(("GET", f"/hello?a=%20&{name}=abc&b") for name in ("AWSAccessKeyId", "Signature", "sig", "X-Goog-Signature"))
    ),
)
scene("client_boundaries", CALL, {"requests": {"duration_histogram_boundaries": [0.5, 30]}})
scene("shown_to_client_hooks", CALLS, {"requests": {"request_hook": note_span, "response_hook": note_span}})
scene(
    "shown_to_client_hooks_with_headers",
    CALL,
    {"requests": {"request_hook": note_span, "response_hook": note_span}},
    environ={f"{HEADERS}_CLIENT_REQUEST": "x-captured", f"{HEADERS}_CLIENT_RESPONSE": "x-answer"},
)


# -- logging -----------------------------------------------------------------------------------------------------------


def logged() -> None:
    """Log at three levels, outside and inside a span, and note how text logs are set up."""
    from opentelemetry import trace

    log = logging.getLogger("case")
    log.setLevel(logging.DEBUG)
    log.warning("outside")
    with trace.get_tracer("case").start_as_current_span("around"):
        for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
            log.log(level, "inside")
    root = logging.getLogger()
    notes.append(
        {"level": root.level, "formats": [handler.formatter._fmt for handler in root.handlers if handler.formatter]}
    )


def log_hook(span: Any, record: Any) -> None:
    """A hook that leaves something, and raises for errors."""
    record.hooked = span.get_span_context().is_valid
    if record.levelno == logging.ERROR:
        raise ValueError


for _name, _environ in {
    "as_it_is": {},
    "correlated": {"OTEL_PYTHON_LOG_CORRELATION": "TRUE"},
    "format": {"OTEL_PYTHON_LOG_CORRELATION": "true", "OTEL_PYTHON_LOG_FORMAT": "%(otelTraceID)s %(message)s"},
    "format_without_correlation": {"OTEL_PYTHON_LOG_FORMAT": "%(message)s"},
    "level": {"OTEL_PYTHON_LOG_CORRELATION": "true", "OTEL_PYTHON_LOG_LEVEL": "error"},
    "level_in_capitals": {"OTEL_PYTHON_LOG_CORRELATION": "true", "OTEL_PYTHON_LOG_LEVEL": "ERROR"},
    "handler_level": {"OTEL_PYTHON_LOG_HANDLER_LEVEL": " warning"},
    "handler_level_short": {"OTEL_PYTHON_LOG_HANDLER_LEVEL": "WARN"},
    "handler_level_number": {"OTEL_PYTHON_LOG_HANDLER_LEVEL": "30"},
    "handler_level_unknown": {"OTEL_PYTHON_LOG_HANDLER_LEVEL": "loud"},
    "code": {"OTEL_PYTHON_LOG_CODE_ATTRIBUTES": " True"},
    "code_odd": {"OTEL_PYTHON_LOG_CODE_ATTRIBUTES": "1"},
    "off": {"OTEL_PYTHON_LOG_AUTO_INSTRUMENTATION": "False"},
    "off_but_correlated": {"OTEL_PYTHON_LOG_AUTO_INSTRUMENTATION": "false", "OTEL_PYTHON_LOG_CORRELATION": "true"},
}.items():
    scene(f"log_{_name}", logged, environ=_environ)
_logging: dict[str, dict[str, Any]] = {
    "inject_trace_context": {"inject_trace_context": True},
    "set_logging_format": {"set_logging_format": True, "logging_format": "%(message)s", "log_level": logging.ERROR},
    "log_hook": {"log_hook": log_hook},
    "log_hook_and_ids": {"log_hook": log_hook, "inject_trace_context": True},
    "log_handler_level": {"log_handler_level": logging.ERROR},
    "log_code_attributes": {"log_code_attributes": True},
    "enable_log_auto_instrumentation": {"enable_log_auto_instrumentation": False},
}
for _name, _options in _logging.items():
    scene(f"log_option_{_name}", logged, {"logging": _options})


# -- playing -----------------------------------------------------------------------------------------------------------


def play(pipeline: str, played: Scene) -> str:
    """Play a scene in this process; return what was seen, without ids and ports."""
    from tests.instruments.seen import seen

    with OtlpReceiver() as receiver:
        flush = PIPELINES[pipeline](receiver.url, Setting({**CONVENTIONS, **played.environ}, played.options))
        played.run()
        flush()
        ports = [note.pop("port") for note in notes if isinstance(note, dict) and "port" in note]
        shown = {**seen(receiver.received, lambda name: name.startswith(("http.", "db."))), "notes": notes}
    text = json.dumps(shown, sort_keys=True)
    text = re.sub(r'"[0-9a-f]{16}([0-9a-f]{16})?"', '"id"', text)
    for port in ports:
        text = re.sub(rf"\b{port}\b", "90000", text)
    return text


def main(pipeline: str, path: Path) -> None:
    """Play all scenes and write what was seen of each."""
    for module in IMPORTED_BEFORE:
        import_module(module)
    results = {}
    for name, played in SCENES.items():
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            with os.fdopen(writing, "w") as answer:
                answer.write(play(pipeline, played))
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as answer:
            results[name] = json.loads(answer.read() or "null")
        os.waitpid(child, 0)
    path.write_text(json.dumps(results, indent=1, sort_keys=True))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
