"""The distro as a user meets it: real programs under opentelemetry-instrument and under otel-forge run."""

from __future__ import annotations

import re
import signal
import sys
from pathlib import Path

import pytest

from tests.otlp_receiver import OtlpReceiver, attributes, free_port, points, refused_url
from tests.programs import BIN, OUR_LAUNCHER, UPSTREAMS_LAUNCHER, Program, Programs, get

FLASK_APP = """
    import logging
    import sys
    from flask import Flask

    app = Flask(__name__)

    @app.get("/items/<int:item>")
    def show(item):
        logging.getLogger("shop").warning("showing item %d", item)
        return {"item": item}

    @app.get("/broken")
    def broken():
        raise RuntimeError("no such luck")

    if __name__ == "__main__":
        app.run(port=int(sys.argv[1]))
"""

LEFTOVERS = """
    import logging
    from opentelemetry import metrics, trace

    tracer = trace.get_tracer("test")
    for number in range(100):
        with tracer.start_as_current_span("work"):
            logging.getLogger("test").error("line %d", number)
    metrics.get_meter("test").create_counter("things").add(1)
"""


WAYS = {
    "upstream": ("upstream", UPSTREAMS_LAUNCHER),
    "lean": ("lean", UPSTREAMS_LAUNCHER),
    "upstream-run": ("upstream", OUR_LAUNCHER),
    "lean-run": ("lean", OUR_LAUNCHER),
}


@pytest.fixture(params=["upstream", "lean-run"], autouse=True)
def way(request: pytest.FixtureRequest, programs: Programs) -> str:
    """Both pipelines, and both launchers, meet the user in the same way; the cases of `all_ways` try each pair."""
    pipeline, programs.launcher = WAYS[request.param]
    programs.environ["OTEL_FORGE_PIPELINE"] = pipeline
    chosen: str = request.param
    return chosen


all_ways = pytest.mark.parametrize("way", list(WAYS), indirect=True)


def start_flask(programs: Programs, endpoint: str, **environ: str) -> tuple[Program, str]:
    port = free_port()
    script = programs.write("app.py", FLASK_APP)
    program = programs.instrumented(
        sys.executable, str(script), str(port), flags=(), OTEL_EXPORTER_OTLP_ENDPOINT=endpoint, **environ
    )
    return program, f"http://127.0.0.1:{port}"


@all_ways
@pytest.mark.gate
def test_f1_console_output_of_a_flask_app_stays(programs: Programs) -> None:
    """F1: with nothing else running, werkzeug's lines, access lines and warnings are on stderr as without us."""
    program, url = start_flask(programs, refused_url())
    assert get(f"{url}/items/7") == (200, '{"item":7}\n')
    program.wait_for_output("Running on")
    program.wait_for_output('"GET /items/7 HTTP/1.1" 200')
    program.wait_for_output("showing item 7")


@pytest.mark.gate
def test_f1_console_output_of_gunicorn_stays(programs: Programs) -> None:
    """F1: gunicorn's own log and its access log are where they were."""
    port = free_port()
    programs.write("shop.py", FLASK_APP)
    program = programs.instrumented(
        str(BIN / "gunicorn"), "shop:app", "-b", f"127.0.0.1:{port}", "--access-logfile", "-",
        OTEL_EXPORTER_OTLP_ENDPOINT=refused_url(),
    )  # fmt: skip
    assert get(f"http://127.0.0.1:{port}/items/7")[0] == 200
    program.wait_for_output("Listening at")
    program.wait_for_output('"GET /items/7 HTTP/1.1" 200')


@pytest.mark.parametrize("setup", ["", "logging.basicConfig(level=logging.INFO, format='%(levelname)s|%(message)s')"])
def test_logging_prints_what_it_prints_without_us(programs: Programs, setup: str) -> None:
    """The handler of last resort and basicConfig work as if telemetry were not there."""
    calls = "logging.info('quiet')\nlogging.warning('loud')\nlogging.warning('%d', 'x')\n"
    code = f"import logging\n{setup}\n{calls}"
    script = programs.write("script.py", code)
    plain = programs.start(sys.executable, str(script))
    ours = programs.instrumented(sys.executable, str(script), OTEL_EXPORTER_OTLP_ENDPOINT=refused_url())
    assert (plain.wait(), ours.wait()) == (0, 0)
    assert [line for line in ours.err.splitlines() if not line.startswith("otel-forge: ")] == plain.err.splitlines()


@all_ways
@pytest.mark.gate
def test_f2_one_line_at_start_says_where_telemetry_goes(programs: Programs, receiver: OtlpReceiver) -> None:
    """F2: address, signals, service name and how to look at it, in one line."""
    program = programs.instrumented(
        sys.executable,
        "-c",
        "pass",
        OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url,
        OTEL_FORGE_PORT_OTLP_HTTP=receiver.url.rpartition(":")[2],
        OTEL_SERVICE_NAME="shop",
    )
    program.wait()
    assert program.notices() == [
        f"service 'shop': traces, metrics, logs -> {receiver.url}. To look at it: otel-forge up"
    ]


@pytest.mark.gate
def test_f2_an_endpoint_that_does_not_answer_is_one_line_with_numbers(programs: Programs) -> None:
    """F2: the outage is said once, with what has not arrived, however many requests fail; at most one line a minute."""
    url = refused_url()
    program, app = start_flask(programs, url, OTEL_FORGE_PORT_OTLP_HTTP=url.rpartition(":")[2])
    for item in range(5):
        get(f"{app}/items/{item}")
    program.wait_for_output(f"{url} does not take telemetry (connection refused): ")
    for item in range(5):
        get(f"{app}/items/{item}")
    program.terminate()
    program.wait()
    outages = [line for line in program.notices() if "does not take telemetry" in line]
    assert len(outages) == 1
    assert "undelivered. Is it up? otel-forge up" in outages[0]
    assert "Traceback" not in program.err


def test_the_stack_is_no_hint_for_telemetry_that_goes_elsewhere(programs: Programs) -> None:
    """`otel-forge up` would not listen at that address."""
    program = programs.instrumented(
        sys.executable, "-c", "print()", OTEL_EXPORTER_OTLP_ENDPOINT=refused_url(), OTEL_SERVICE_NAME="shop"
    )
    program.wait()
    assert program.notices() and "otel-forge up" not in program.err


def test_a_guessed_service_name_says_so(programs: Programs) -> None:
    """Without a name the folder's serves, and the line says how to set one."""
    program, url = start_flask(programs, refused_url())
    get(f"{url}/items/1")
    assert f"service {programs.folder.name!r} (name guessed; set OTEL_SERVICE_NAME)" in program.notices()[0]


@pytest.mark.gate
@pytest.mark.parametrize("behaviour", ["refused", "black_hole", "503", "trickle"])
def test_f4_exit_takes_two_seconds_at_the_most(programs: Programs, way: str, behaviour: str) -> None:
    """F4: with the endpoint refused, silent, failing or trickling, exit is quick and what is left is counted."""
    script = programs.write("script.py", LEFTOVERS + "\n    print('end of program', flush=True)\n")
    with OtlpReceiver(behaviour) as receiver:
        url = refused_url() if behaviour == "refused" else receiver.url
        program = programs.instrumented(sys.executable, str(script), OTEL_EXPORTER_OTLP_ENDPOINT=url)
        program.wait_for_output("end of program")
        status, seconds = program.ended_within(20)
    assert status == 0
    assert seconds < 2.0
    if way == "upstream":
        assert re.search(r"exit: 100 spans, \d+ metric points, 100 log records could not be sent", program.err)
        return
    said = re.search(
        r"exit: 100 spans, \d+ metric points?, 100 log records kept in (\S+) for the next start", program.err
    )
    assert said, program.err
    assert "could not be sent" not in program.err
    assert {file.name.partition("-")[0] for file in Path(said[1]).glob("*.seg")} == {"traces", "metrics", "logs"}


@pytest.mark.gate
@pytest.mark.parametrize("way", ["lean", "lean-run"], indirect=True)
def test_f4_the_next_start_delivers_what_the_last_exit_could_not(programs: Programs, receiver: OtlpReceiver) -> None:
    """F4: nothing is lost by an exit while the endpoint is away, and nothing is left behind after the next one."""
    script = programs.write("script.py", LEFTOVERS)
    for url, count in ((refused_url(), 0), (receiver.url, 200)):
        program = programs.instrumented(sys.executable, str(script), OTEL_EXPORTER_OTLP_ENDPOINT=url)
        assert program.wait() == 0
        assert (len(receiver.received.spans()), len(receiver.received.logs())) == (count, count)
    assert list((programs.folder / "spool").rglob("*.seg")) == []


@all_ways
def test_exit_delivers_everything_when_the_endpoint_answers(programs: Programs, receiver: OtlpReceiver) -> None:
    """What was recorded in the last moment arrives, and no line about losses is said."""
    script = programs.write("script.py", LEFTOVERS)
    program = programs.instrumented(sys.executable, str(script), OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url)
    assert program.wait() == 0
    assert (len(receiver.received.spans()), len(receiver.received.logs())) == (100, 100)
    assert "things" in receiver.received.metrics()
    assert len(program.notices()) == 1


def test_sigterm_to_a_plain_python_program_sends_what_is_left(programs: Programs, receiver: OtlpReceiver) -> None:
    """The default action still ends the process, with the status of a SIGTERM, after the last batch went out."""
    waiting = LEFTOVERS + "\n    print('ready', flush=True)\n    import signal\n    signal.pause()\n"
    script = programs.write("script.py", waiting)
    program = programs.instrumented(
        sys.executable, str(script), OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url, OTEL_BSP_SCHEDULE_DELAY="60000"
    )
    program.wait_for_output("ready")
    program.terminate()
    assert program.wait() == -signal.SIGTERM
    assert len(receiver.received.spans()) == 100


def test_a_sigterm_handler_of_the_application_is_left_alone(programs: Programs, receiver: OtlpReceiver) -> None:
    """Only the default action is ever chained."""
    code = """
        import signal, sys
        print(signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL, flush=True)
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(7))
        print("ready", flush=True)
        signal.pause()
    """
    script = programs.write("script.py", code)
    program = programs.instrumented(sys.executable, str(script), OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url)
    program.wait_for_output("ready")
    program.terminate()
    assert program.wait() == 7


@pytest.mark.parametrize("way", ["upstream"], indirect=True)  # settings are read before either is built
@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", "OTEL_EXPORTER_OTLP_PROTOCOL='http/json' is not one of"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "256", "OTEL_BSP_MAX_QUEUE_SIZE='256' is not at least"),
        ("OTEL_TRACES_EXPORTER", "jaeger", "OTEL_TRACES_EXPORTER='jaeger' is not one of otlp, none, console"),
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "1k", "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT='1k' is not a whole number"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s", "OTEL_EXPORTER_OTLP_TIMEOUT='10s' is not a number of seconds"),
        ("OTEL_PROPAGATORS", "xray", "OTEL_PROPAGATORS='xray' is not installed (pip install opentelemetry-propagator"),
        ("OTEL_BLRP_SCHEDULE_DELAY", "0", "OTEL_BLRP_SCHEDULE_DELAY='0' is not a number of milliseconds above 0"),
        ("OTEL_METRICS_EXEMPLAR_FILTER", "on", "OTEL_METRICS_EXEMPLAR_FILTER='on' is not one of trace_based"),
        ("OTEL_TRACES_SAMPLER", "sometimes", "OTEL_TRACES_SAMPLER='sometimes' is not one of always_on"),
        ("OTEL_PYTHON_ID_GENERATOR", "dice", "OTEL_PYTHON_ID_GENERATOR='dice' is not one of random"),
        ("OTEL_CONFIG_FILE", "/nowhere.yaml", "OTEL_CONFIG_FILE='/nowhere.yaml' cannot be used"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "soon", "OTEL_METRIC_EXPORT_INTERVAL='soon' is not a number of milliseconds"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "lz4", "OTEL_EXPORTER_OTLP_COMPRESSION='lz4' is not one of none, gzip"),
        ("OTEL_ATTRIBUTE_COUNT_LIMIT", "-1", "OTEL_ATTRIBUTE_COUNT_LIMIT='-1' is not a whole number from 0 up"),
        ("OTEL_PYTHON_LOG_HANDLER_LEVEL", "loud", "OTEL_PYTHON_LOG_HANDLER_LEVEL='loud' is not one of notset"),
    ],
)
def test_one_bad_setting_is_one_line_and_turns_nothing_off(
    programs: Programs, receiver: OtlpReceiver, name: str, value: str, said: str
) -> None:
    """All three signals of a request still arrive, and one line names variable, value and what is allowed."""
    program, url = start_flask(programs, receiver.url, **{name: value})
    get(f"{url}/items/1")
    receiver.wait_for(lambda received: received.spans() and received.logs())
    program.terminate()
    program.wait()
    assert "http.server.request.duration" in receiver.received.metrics()
    assert [line for line in program.notices() if line.startswith(said)]
    assert len(program.notices()) == 2
    assert "Traceback" not in program.err


def test_stable_conventions_are_the_default(programs: Programs, receiver: OtlpReceiver) -> None:
    """The duration is in seconds under its stable name, with the route, and the span has stable attributes."""
    program, url = start_flask(programs, receiver.url)
    get(f"{url}/items/3")
    program.terminate()
    program.wait()
    (point,) = points(receiver.received.metrics()["http.server.request.duration"])
    labels = attributes(point.attributes)
    assert (labels["http.route"], labels["http.response.status_code"]) == ("/items/<int:item>", 200)
    assert point.sum < 5
    (span,) = receiver.received.spans()
    assert {"http.request.method", "url.path", "http.route"} <= set(attributes(span.attributes))


def test_the_standard_variable_brings_the_old_conventions_back(programs: Programs, receiver: OtlpReceiver) -> None:
    """OTEL_SEMCONV_STABILITY_OPT_IN wins over our default."""
    program, url = start_flask(programs, receiver.url, OTEL_SEMCONV_STABILITY_OPT_IN="default")
    get(f"{url}/items/3")
    program.terminate()
    program.wait()
    assert "http.server.duration" in receiver.received.metrics()


@all_ways
def test_log_records_carry_the_trace_of_their_request(programs: Programs, receiver: OtlpReceiver) -> None:
    """The line logged in a request has the ids of its server span."""
    _, url = start_flask(programs, receiver.url)
    get(f"{url}/items/3")
    received = receiver.wait_for(lambda received: received.spans() and received.logs() and received)
    (span,) = received.spans()
    (line,) = [record for record in received.logs() if record.body.string_value == "showing item 3"]
    assert (line.trace_id, line.span_id) == (span.trace_id, span.span_id)


@all_ways
def test_disabled_sends_nothing_and_says_nothing(programs: Programs, receiver: OtlpReceiver) -> None:
    """OTEL_SDK_DISABLED=true leaves a silent no-op."""
    program, url = start_flask(programs, receiver.url, OTEL_SDK_DISABLED="true")
    assert get(f"{url}/items/3")[0] == 200
    program.terminate()
    program.wait()
    assert program.notices() == []
    assert receiver.received.requests == {"traces": [], "metrics": [], "logs": []}


def test_console_exporters_print(programs: Programs) -> None:
    """OTEL_*_EXPORTER=console writes to standard output, and nothing is sent."""
    script = programs.write("script.py", LEFTOVERS)
    program = programs.instrumented(
        sys.executable, str(script),
        OTEL_TRACES_EXPORTER="console", OTEL_METRICS_EXPORTER="none", OTEL_LOGS_EXPORTER="none",
    )  # fmt: skip
    assert program.wait() == 0
    assert program.out.count('"name": "work"') == 100
    assert "traces -> the console" in program.notices()[0]


@pytest.mark.parametrize("way", ["upstream", "lean"], indirect=True)
def test_flags_of_opentelemetry_instrument_keep_their_meaning(programs: Programs, receiver: OtlpReceiver) -> None:
    """`--service_name shop` is OTEL_SERVICE_NAME=shop."""
    script = programs.write("script.py", LEFTOVERS)
    flags = ("--service_name", "shop", "--exporter_otlp_endpoint", receiver.url)
    programs.instrumented(sys.executable, str(script), flags=flags, OTEL_RESOURCE_ATTRIBUTES="team=red").wait()
    resource = receiver.received.resources()[0]
    assert (resource["service.name"], resource["team"]) == ("shop", "red")
    assert resource["telemetry.distro.name"] == "otel-forge"


def test_a_declarative_configuration_file_is_honoured(programs: Programs, receiver: OtlpReceiver) -> None:
    """OTEL_CONFIG_FILE sets the pipeline up; exit still delivers within the budget."""
    config = programs.write(
        "otel.yaml",
        f"""
        file_format: "1.0-rc.1"
        resource:
          attributes:
            - name: service.name
              value: from-file
        tracer_provider:
          processors:
            - batch:
                exporter:
                  otlp_http:
                    endpoint: {receiver.url}/v1/traces
        """,
    )
    script = programs.write("script.py", LEFTOVERS)
    program = programs.instrumented(sys.executable, str(script), OTEL_CONFIG_FILE=str(config))
    assert program.wait() == 0
    assert len(receiver.received.spans()) == 100
    assert receiver.received.resources()[0]["service.name"] == "from-file"
    assert program.notices() == [f"telemetry is set up from {config}. To look at it: otel-forge up"]


@all_ways
def test_a_failing_instrumentation_costs_only_itself(programs: Programs, receiver: OtlpReceiver) -> None:
    """A third-party instrumentor that raises is one line; Flask is still instrumented."""
    _install_broken_instrumentor(programs.folder)
    program, url = start_flask(programs, receiver.url, PYTHONPATH=str(programs.folder / "site"))
    get(f"{url}/items/1")
    receiver.wait_for(lambda received: received.spans())
    assert [line for line in program.notices() if "the instrumentation 'broken' failed and is off" in line]


def _install_broken_instrumentor(folder: Path) -> None:
    info = folder / "site" / "broken_instrumentor-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-instrumentor\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[opentelemetry_instrumentor]\nbroken = broken_instrumentor:Broken\n")
    (folder / "site" / "broken_instrumentor.py").write_text(
        "class Broken:\n    def instrument(self, **kwargs):\n        raise RuntimeError('half-baked')\n"
    )


def test_the_scrape_endpoint_serves_each_gunicorn_worker(programs: Programs, receiver: OtlpReceiver) -> None:
    """OTEL_METRICS_EXPORTER=otlp,prometheus: worker metrics are found on the ports from the configured one on."""
    port, scrape = free_port(), free_port()
    programs.write("shop.py", FLASK_APP)
    programs.instrumented(
        str(BIN / "gunicorn"), "shop:app", "-b", f"127.0.0.1:{port}", "--workers", "2",
        OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url, OTEL_METRICS_EXPORTER="otlp,prometheus",
        OTEL_EXPORTER_PROMETHEUS_PORT=str(scrape),
    )  # fmt: skip
    for _ in range(20):
        get(f"http://127.0.0.1:{port}/items/7")
    pages = [page for offset in range(8) if (page := scraped(scrape + offset))]
    counted = sum(
        float(line.rsplit(" ", 1)[1])
        for page in pages
        for line in page.splitlines()
        if line.startswith("http_server_request_duration_seconds_count")
    )
    assert counted == 20


def scraped(port: int) -> str:
    """Return the metrics page at a port; empty where nobody or somebody else listens."""
    try:
        return get(f"http://127.0.0.1:{port}/metrics", timeout=0.2)[1]
    except OSError:
        return ""
