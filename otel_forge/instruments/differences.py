"""Where the lean instruments differ from upstream's on purpose: the one list, which the docs print.

The differential tests (``tests/instruments/test_differential.py`` with small cases, ``tests/equivalence`` with whole
services) run the same traffic through both and know no other exceptions than these.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Difference:
    """One difference: what upstream does, what the lean instrument does instead, and why."""

    name: str
    instrument: str
    upstream: str
    ours: str
    why: str


DIFFERENCES: tuple[Difference, ...] = (
    Difference(
        "scope",
        "all",
        "The instrumentation scope is opentelemetry.instrumentation.<library> with upstream's version.",
        "The scope is otel_forge.instruments.<library> with otel-forge's version.",
        "A scope names the code that made the record.",
    ),
    Difference(
        "log-template",
        "logging",
        "Only the formatted message is kept.",
        "The template is kept as well, as log.record.template, where a message has arguments.",
        "Records of the same call can be found and counted together. The conventions name no attribute for it yet.",
    ),
    Difference(
        "log-exception",
        "logging",
        "exception.type is the bare class name, exception.message the first argument of the exception.",
        "exception.type is the qualified name with its module, exception.message the text of the exception.",
        "As on spans and as the conventions want it; both records of one exception then agree.",
    ),
    Difference(
        "log-suppressed",
        "logging",
        "Records made inside suppress_instrumentation() become telemetry.",
        "They do not, nor do records of telemetry's own loggers.",
        "An exporter that logs about its own requests would feed itself for ever.",
    ),
    Difference(
        "log-bad-arguments",
        "logging",
        'logging.warning("%d", "x") raises TypeError into the application.',
        "The template becomes the body, and logging reports the mistake as it does without telemetry.",
        "Logging never raises into the application.",
    ),
    Difference(
        "name-without-route",
        "flask",
        "A request that matches no route (404, 405, redirect to a slash) is named by method and raw path.",
        "It is named by its method.",
        "Names must be few: anybody can ask for paths that do not exist.",
    ),
    Difference(
        "handled-exception",
        "flask",
        "An exception that an error handler turns into a 5xx response, and abort(5xx), leave no trace on the span.",
        "The exception is recorded as an event.",
        "A 500 without its reason helps nobody.",
    ),
    Difference(
        "streaming",
        "flask",
        "The span ends before the body is streamed; spans inside the stream begin traces of their own, and an "
        "exception in mid-stream leaves status and event unset.",
        "The span ends with the body, is the current one while pieces are made, and records what is raised.",
        "The stream is the request.",
    ),
    Difference(
        "entry",
        "flask",
        "The span starts when Flask has matched the route; samplers see the route, WSGI middleware is outside.",
        "The span starts at the WSGI entry, and stack traces begin there; samplers and processors see the method as "
        "the name then, and no route yet. The name is completed with the response. Excluded URLs and "
        "http.server.active_requests are decided by what the server passed, before any ProxyFix.",
        "What middleware and before_request functions do is part of the request.",
    ),
    Difference(
        "before-request",
        "flask",
        "A before_request function registered before instrumenting that answers by itself leaves no span.",
        "There is a span for every request.",
        "Refused requests are the ones to look at.",
    ),
    Difference(
        "import-order",
        "flask",
        "`from flask import Flask` before instrumenting makes an app that is not seen.",
        "Every app is seen, whenever it was made.",
        "The order of imports is nobody's intention.",
    ),
    Difference(
        "one-server-span",
        "flask",
        "An app called by another app makes a second span and is counted twice in the duration histogram.",
        "One server span and one measurement for each request, with the route of the outer app.",
        "It is one request.",
    ),
    Difference(
        "propagated-exception",
        "flask",
        "A request whose exception reaches the server has no error.type and no duration.",
        "error.type is the class of the exception, on the span and in the histogram.",
        "The requests that fail worst would be missing from the error rate.",
    ),
    Difference(
        "raising-hook",
        "flask",
        "A hook that raises makes every request a 500, or raises into the server.",
        "It costs only itself and is said once. The same holds for hooks of requests.",
        "Telemetry never breaks the application.",
    ),
    Difference(
        "url-path",
        "flask",
        "url.path and url.query are missing with servers that pass neither RAW_URI nor REQUEST_URI, and other "
        "letters than ASCII are garbled.",
        "Both are always set, and readable.",
        "url.path is required by the conventions; PEP 3333 passes UTF-8 disguised as Latin-1.",
    ),
    Difference(
        "bad-environ",
        "flask",
        "A SERVER_PORT that is no number (a Unix socket), or a status without a reason, raises into the server.",
        "What cannot be read is left out.",
        "Telemetry never breaks the application.",
    ),
    Difference(
        "set-by-hook",
        "flask",
        "What a request hook sets is overwritten where the instrumentation sets the same attribute, and what a view "
        "sets by the attributes of the response.",
        "What hooks and views set stays.",
        "Whoever sets an attribute wants to see it.",
    ),
    Difference(
        "variables",
        "flask, requests",
        "Captured headers of servers and OTEL_PYTHON_INSTRUMENTATION_HTTP_CAPTURE_ALL_METHODS are read at every "
        "request.",
        "All variables are read when the library is instrumented.",
        "The environment does not change while a program runs.",
    ),
    Difference(
        "empty-pattern",
        "flask, requests",
        "A comma at the end of a list is one more pattern, an empty one, which fits everything: all URLs are "
        "excluded, or all captured headers hidden.",
        "Empty items of a list are left out.",
        "A slip of the pen must not turn telemetry off.",
    ),
    Difference(
        "bad-pattern",
        "flask, requests",
        "A pattern that is no regular expression raises: the library is not instrumented, or every request fails.",
        "One line says so, and the other patterns hold.",
        "Telemetry never breaks the application.",
    ),
    Difference(
        "header-bytes",
        "requests",
        "A captured header whose value is bytes becomes a list of numbers.",
        "It becomes text.",
        "Values of headers are text to whoever reads them.",
    ),
    Difference(
        "peer-ip",
        "requests",
        "net.peer.ip is added if somebody has instrumented http.client with HttpClientInstrumentor.",
        "It is not.",
        "The name belongs to the old conventions, and nothing installs that instrumentor.",
    ),
    Difference(
        "sql-shortcuts",
        "sqlite3",
        "Connection.execute and .executemany, and executescript anywhere, make no span.",
        "They make one, as the cursor's own methods do.",
        "The shortcuts are how sqlite3 is mostly used.",
    ),
    Difference(
        "sql-classes",
        "sqlite3",
        "connect returns a proxy: Connection.backup to it and C code that checks the type fail.",
        "It returns a sqlite3.Connection; a class given as factory is combined with ours.",
        "An application must not see the difference.",
    ),
    Difference(
        "sql-buckets",
        "sqlite3",
        "db.client.operation.duration and db.client.response.returned_rows have the SDK's default buckets, of "
        "which the first ends at five (seconds).",
        "They have the buckets that the conventions advise.",
        "All queries of a healthy application would be in one bucket.",
    ),
    Difference(
        "sql-blank",
        "sqlite3",
        "A statement of blanks raises IndexError into the application.",
        "It is passed to SQLite.",
        "Telemetry never breaks the application.",
    ),
)


def table() -> list[tuple[str, str, str, str]]:
    """Return a row for each difference: instrument, upstream's way, our way, why."""
    return [(item.instrument, item.upstream, item.ours, item.why) for item in DIFFERENCES]
