"""Settings: read once, standard meanings, one line for each value that cannot be used."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_forge.errors import SettingsError
from otel_forge.settings import Settings
from otel_forge.stack.ports import OTLP_GRPC, OTLP_HTTP, PORTS
from otel_forge.stack.settings import RETENTIONS
from otel_forge.variables import VARIABLES, table

ROOT = Path(__file__).parent.parent


def test_nothing_set_gives_the_documented_defaults() -> None:
    """An empty environment has no problems and sends all signals to the local Collector over HTTP."""
    settings = Settings.from_env({})
    assert settings.problems == ()
    assert settings.exporters == {"traces": ("otlp",), "metrics": ("otlp",), "logs": ("otlp",)}
    assert settings.otlp["traces"].endpoint == "http://localhost:4318/v1/traces"
    assert settings.sampler == "parentbased_always_on"
    assert settings.semconv_opt_in == ("http", "database")


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        (
            "OTEL_EXPORTER_OTLP_PROTOCOL",
            "http/json",
            "OTEL_EXPORTER_OTLP_PROTOCOL='http/json' is not one of http/protobuf, grpc; using http/protobuf.",
        ),
        (
            "OTEL_BSP_MAX_QUEUE_SIZE",
            "256",
            "OTEL_BSP_MAX_QUEUE_SIZE='256' is not at least OTEL_BSP_MAX_EXPORT_BATCH_SIZE, which is 512 by default; "
            "using it with batches of 256.",
        ),
        (
            "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
            "1k",
            "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT='1k' is not a whole number from 0 up; using 128.",
        ),
        (
            "OTEL_EXPORTER_OTLP_TIMEOUT",
            "10s",
            "OTEL_EXPORTER_OTLP_TIMEOUT='10s' is not a number of seconds above 0; using 10.",
        ),
        (
            "OTEL_BLRP_SCHEDULE_DELAY",
            "0",
            "OTEL_BLRP_SCHEDULE_DELAY='0' is not a number of milliseconds above 0; using 1000.",
        ),
        (
            "OTEL_METRICS_EXEMPLAR_FILTER",
            "on",
            "OTEL_METRICS_EXEMPLAR_FILTER='on' is not one of trace_based, always_on, always_off; using trace_based.",
        ),
        ("OTEL_SDK_DISABLED", "1", "OTEL_SDK_DISABLED='1' is not true or false; using false."),
        (
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "collector:4318",
            "OTEL_EXPORTER_OTLP_ENDPOINT='collector:4318' is not an address such as http://localhost:4318; "
            "using http://localhost:4318.",
        ),
        (
            "OTEL_EXPORTER_OTLP_CERTIFICATE",
            "/nowhere/ca.pem",
            "OTEL_EXPORTER_OTLP_CERTIFICATE='/nowhere/ca.pem' is not the path of a file that this process can read; "
            "using none.",
        ),
        (
            "OTEL_RESOURCE_ATTRIBUTES",
            "team",
            "OTEL_RESOURCE_ATTRIBUTES='team' is not a list of key=value pairs with commas between them; using none.",
        ),
    ],
)
def test_a_bad_value_is_one_line_that_names_variable_value_and_what_is_allowed(
    name: str, value: str, line: str
) -> None:
    """Each bad value costs one line and nothing else: all other settings keep their defaults."""
    settings = Settings.from_env({name: value})
    assert settings.problems == (line,)
    assert settings.rejected == (name,) or name == "OTEL_BSP_MAX_QUEUE_SIZE"
    assert settings.exporters == Settings.from_env({}).exporters


def test_bad_ratio_names_the_variable_and_the_value() -> None:
    """A ratio sampler with a word for a ratio says so and samples everything."""
    settings = Settings.from_env({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "seven"})
    assert settings.problems == ("OTEL_TRACES_SAMPLER_ARG='seven' is not a number from 0 to 1; using 1.0.",)
    assert settings.sampler_arg == "1.0"


def test_one_bad_pair_costs_only_itself() -> None:
    """A resource attribute without a value is left out; its neighbours stay."""
    settings = Settings.from_env({"OTEL_RESOURCE_ATTRIBUTES": "team=red,oops,region=eu%20west"})
    assert settings.resource_attributes == {"team": "red", "region": "eu west"}
    assert settings.problems[0].endswith("commas between them; using the rest of it.")


def test_headers_are_never_shown() -> None:
    """A header line that cannot be read may hold a token: the line names the variable and hides the value."""
    settings = Settings.from_env({"OTEL_EXPORTER_OTLP_HEADERS": "Authorization: Bearer s3cr3t"})
    assert "s3cr3t" not in "".join(settings.problems)
    assert settings.problems[0].startswith("OTEL_EXPORTER_OTLP_HEADERS='…' is not")


def test_strict_raises_the_first_problem() -> None:
    """Programs that want to stop on a bad setting ask for it."""
    with pytest.raises(SettingsError, match="OTEL_SDK_DISABLED='yes' is not true or false"):
        Settings.from_env({"OTEL_SDK_DISABLED": "yes"}, strict=True)


@pytest.mark.parametrize(
    ("environ", "endpoint"),
    [
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "https://o.example/base/"}, "https://o.example/base/v1/logs"),
        ({"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "http://logs:1/in"}, "http://logs:1/in"),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "http://localhost:4317"),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:9", "OTEL_EXPORTER_OTLP_LOGS_PROTOCOL": "grpc"},
            "http://c:9",
        ),
    ],
)
def test_endpoints_follow_the_otlp_specification(environ: dict[str, str], endpoint: str) -> None:
    """The base address gets the signal's path for HTTP; a signal's own address is taken as it is."""
    assert Settings.from_env(environ).otlp["logs"].endpoint == endpoint


@pytest.mark.parametrize(
    ("endpoint", "interval", "delay"),
    [
        ("http://localhost:4318", 5000, 1000),
        ("http://127.0.0.1:4318", 5000, 1000),
        ("http://[::1]:4318", 5000, 1000),
        ("https://telemetry.example", 60000, 5000),
    ],
)
def test_loopback_endpoints_are_sent_to_sooner(endpoint: str, interval: float, delay: float) -> None:
    """Metrics go every 5 s to this machine and at the standard 60 s elsewhere; spans likewise at 1 s and 5 s."""
    settings = Settings.from_env({"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint})
    assert (settings.metric_interval, settings.spans.schedule_delay) == (interval, delay)


def test_none_among_exporters_turns_the_signal_off() -> None:
    """`none` wins over whatever stands beside it."""
    assert Settings.from_env({"OTEL_TRACES_EXPORTER": "otlp,none"}).exporters["traces"] == ()


@given(st.dictionaries(st.sampled_from([variable.name for variable in VARIABLES]), st.text(max_size=30), max_size=8))
def test_no_value_whatever_raises(environ: dict[str, str]) -> None:
    """Any text in any variable gives settings and at most one line for each variable."""
    settings = Settings.from_env(environ)
    assert len(settings.problems) <= len(environ) + 1
    assert all("\n" not in problem for problem in settings.problems)


def test_the_documentation_lists_every_variable_with_its_default() -> None:
    """docs/settings.md and the table of variables say the same."""
    documented = re.findall(r"^\| `(\w+)` \| (.*?) \| (.*?) \|$", (ROOT / "docs/settings.md").read_text(), re.M)
    assert documented == table()


def test_the_documentation_lists_every_setting_of_the_stack() -> None:
    """docs/stack.md has each port and each retention with its default."""
    page = (ROOT / "docs/stack.md").read_text()
    rows = [(port.setting, str(port.default)) for port in PORTS] + [
        (name, default) for name, default, _, _ in RETENTIONS
    ]
    assert [row for row in rows if f"| `{row[0]}` | {row[1]} |" not in page] == []


@pytest.mark.parametrize(
    ("address", "environ", "is_its"),
    [
        ("http://localhost:4318", {}, True),
        ("http://127.0.0.1:4318/v1/traces", {}, True),
        ("http://[::1]:4317", {}, True),
        ("localhost:4317", {}, True),
        ("http://localhost:4319", {}, False),
        ("http://collector:4318", {}, False),
        ("https://telemetry.example", {}, False),
        ("http://localhost:14318", {"OTEL_FORGE_PORT_OTLP_HTTP": "14318"}, True),
        ("http://localhost:4318", {"OTEL_FORGE_PORT_OTLP_HTTP": "14318"}, False),
    ],
)
def test_what_is_the_address_of_the_stack(address: str, environ: dict[str, str], is_its: bool) -> None:
    """This machine, and a port of its Collector's, wherever that was moved to."""
    assert Settings.from_env(environ).is_of_stack(address) is is_its


def test_the_ports_of_the_stack_are_those_that_it_has() -> None:
    """The table of `otel_forge.stack.ports`, which the distribution does not import."""
    assert Settings.from_env({}).stack_ports == (str(OTLP_GRPC.default), str(OTLP_HTTP.default))


def test_every_variable_of_ours_that_is_read_is_in_the_documentation() -> None:
    """docs/settings.md lists it, or says on which page it is."""
    sources = [path.read_text() for path in (ROOT / "otel_forge").rglob("*.py")]
    read = set(re.findall(r'"(OTEL_FORGE_[A-Z_]+[A-Z])"', "\n".join(sources)))
    page, stack = ((ROOT / "docs" / name).read_text() for name in ("settings.md", "stack.md"))
    assert len(read) > 30
    assert sorted(name for name in read if f"`{name}`" not in page) == []
    of_stack = set(re.findall(r"^\| `(OTEL_FORGE_\w+)`", stack, re.M))
    assert sorted(name for name in of_stack if f"`{name}`" not in page and "PORT" not in name) == []


def test_a_misspelt_name_of_ours_is_noticed() -> None:
    """OTEL_FORGE_* is our own name space: a near miss there is a mistake, and what the stack reads is none."""
    settings = Settings.from_env({"OTEL_FORGE_EXIT_TIMOUT": "3", "OTEL_FORGE_PORT_LOKI": "3101"})
    assert settings.problems == ("OTEL_FORGE_EXIT_TIMOUT is not a setting; did you mean OTEL_FORGE_EXIT_TIMEOUT?",)
