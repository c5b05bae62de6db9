"""The cases that `promtool test rules` proves the alert table with.

For every alert: fires, does not fire, just below, no data, resolves. Series are samples 10 s apart in
promtool's own notation: `0+2x30` counts up by 2 for thirty steps, `_x6` is a minute of silence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from grafana.src import lanes
from grafana.src.alerts import (
    ALERTS,
    ERROR_RATIO_HIGH,
    EVALUATED_EVERY,
    FAILURE_RATIO,
    LAST_HEARD,
    PIPELINE_AGE,
    REQUEST_RATE,
    REQUESTS,
    SERVICE_DOWN,
    TELEMETRY_MISSING,
    WATCHDOG,
    Alert,
    Recording,
)
from grafana.src.sources import Json

STEP = EVALUATED_EVERY
RULES_FROM_TESTS = "../rules/forge.yaml"
# At the end of the name of a test file whose cases last hours.
SLOW = "-hours"


@dataclass(frozen=True)
class Service:
    """The labels of one service."""

    name: str = "checkout"
    namespace: str = "shop"
    environment: str = "production"

    def labels(self) -> dict[str, str]:
        """Return the labels that alerts carry."""
        return {
            "deployment_environment_name": self.environment,
            "service_namespace": self.namespace,
            "service_name": self.name,
        }

    def series(self, metric: str, **more: str) -> str:
        """Return one series of this service in PromQL notation."""
        pairs = ", ".join(f'{name}="{value}"' for name, value in {**self.labels(), **more}.items())
        return f"{metric}{{{pairs}}}"

    def alive(self, samples: str, *, instance: str = "one") -> dict[str, str]:
        """Return the service's target_info; only the time of each sample matters."""
        return {self.series("target_info", instance=instance): samples}

    def requests(self, samples: str, *, status: str = "200", route: str = "/carts") -> dict[str, str]:
        """Return the service's request counter for one status and route."""
        return {self.series(REQUESTS, http_response_status_code=status, http_route=route): samples}


CHECKOUT = Service()
NOBODY = Service("", "", "")
SEARCH = Service(name="search")
ALWAYS = "1+0x180"
FOR_HOURS = "1+0x440"
NEVER: dict[str, str] = {}


@dataclass(frozen=True)
class Firing:
    """An alert that must be firing: the series it is about and the value in its text."""

    value: str
    about: Service | None = None


@dataclass(frozen=True)
class Moment:
    """What must be firing at one time; nothing, when empty."""

    at: str
    firing: tuple[Firing, ...] = ()


@dataclass(frozen=True)
class Sample:
    """What an expression must yield at one time."""

    expr: str
    at: str
    about: Service
    value: float
    also_about: Service | None = None
    also_value: float = 0


@dataclass(frozen=True)
class Case:
    """One promtool test: a name that says what it shows, the series that exist, and what must follow."""

    name: str
    shows: str
    series: dict[str, str]
    moments: tuple[Moment, ...]
    samples: tuple[Sample, ...] = field(default=())
    step: str = STEP
    lasts_hours: bool = False


def collector(samples: str, *, name: str = "otelcol-forge") -> dict[str, str]:
    """Return a Collector's own uptime counter."""
    return {f'otelcol_process_uptime_seconds_total{{service_name="{name}"}}': samples}


COLLECTOR_UP = collector(ALWAYS)
SILENT_AT_5M = "1+0x30"
BUSY_UNTIL_5M = "0+5x30"


def rounded(recording: Recording) -> str:
    """Return an expression for a recorded value without the noise of floating point."""
    return f"round({recording.name}, 0.001)"


def quiet(at: str) -> Moment:
    """Return a moment at which nothing fires."""
    return Moment(at)


def down(at: str, value: str, about: Service = CHECKOUT) -> Moment:
    """Return a moment at which one service is reported with a value."""
    return Moment(at, (Firing(value, about),))


SERVICE_DOWN_CASES = (
    Case(
        "a service that served requests and went silent is reported 3 minutes and 10 seconds later",
        "fires, just below",
        {**COLLECTOR_UP, **CHECKOUT.alive(SILENT_AT_5M), **CHECKOUT.requests(BUSY_UNTIL_5M)},
        (quiet("7m"), quiet("8m"), down("8m10s", "3m 10s"), down("20m", "15m 0s")),
    ),
    Case(
        "a service that keeps sending is not reported, however few its requests",
        "does not fire",
        {**COLLECTOR_UP, **CHECKOUT.alive(ALWAYS), **CHECKOUT.requests("0+1x2 2+0x150")},
        (quiet("3m"), quiet("8m10s"), quiet("25m")),
    ),
    Case(
        "a process that never answered a request is not reported when it ends",
        "does not fire",
        {**COLLECTOR_UP, **CHECKOUT.alive(SILENT_AT_5M), **CHECKOUT.requests("0+0x30")},
        (quiet("8m10s"), quiet("20m")),
    ),
    Case(
        "one instance of two going away is no outage; the instances' newest sample counts",
        "does not fire",
        {
            **COLLECTOR_UP,
            **CHECKOUT.alive(SILENT_AT_5M),
            **CHECKOUT.alive(ALWAYS, instance="two"),
            **CHECKOUT.requests(BUSY_UNTIL_5M),
        },
        (quiet("8m10s"), quiet("20m")),
    ),
    Case(
        "only the silent one of two services is reported, and one of two Collectors is enough",
        "fires",
        {
            **COLLECTOR_UP,
            **CHECKOUT.alive(SILENT_AT_5M),
            **CHECKOUT.requests(BUSY_UNTIL_5M),
            **SEARCH.alive(ALWAYS),
            **SEARCH.requests("0+5x60"),
            **collector("1+1x30", name="gone"),
        },
        (down("8m10s", "3m 10s"), down("10m", "5m 0s")),
    ),
    Case(
        "with nothing ever sent by any service there is nobody to report",
        "no data",
        COLLECTOR_UP,
        (quiet("10m"),),
    ),
    Case(
        "the alert ends with the first sample after the silence",
        "resolves",
        {
            **COLLECTOR_UP,
            **CHECKOUT.alive("1+0x30 _x30 1+0x30"),
            **CHECKOUT.requests("0+5x30 _x30 0+5x30"),
        },
        (down("10m", "5m 0s"), quiet("10m10s"), quiet("14m")),
    ),
    Case(
        "when the Collector falls silent too, the service is no longer blamed after one minute",
        "does not fire",
        {
            **collector("1+1x50"),
            **CHECKOUT.alive(SILENT_AT_5M),
            **CHECKOUT.requests(BUSY_UNTIL_5M),
        },
        (down("8m30s", "3m 30s"), down("9m10s", "4m 10s"), quiet("9m20s"), quiet("15m")),
    ),
    Case(
        "everything falling silent at once blames the pipe and not the service",
        "does not fire",
        {**collector("1+1x30"), **CHECKOUT.alive(SILENT_AT_5M), **CHECKOUT.requests(BUSY_UNTIL_5M)},
        (quiet("6m"), quiet("8m10s"), quiet("20m")),
    ),
    Case(
        "a silence is given up after 6 hours: by then somebody has decided",
        "resolves",
        {**collector(FOR_HOURS), **CHECKOUT.alive("1+0x10"), **CHECKOUT.requests("0+5x10")},
        (down("6h5m", "5h 55m 0s"), quiet("6h20m")),
        step="1m",
        lasts_hours=True,
    ),
    Case(
        "a service without a request for 6 hours may end unnoticed",
        "does not fire",
        {
            **collector(FOR_HOURS),
            **CHECKOUT.alive("1+0x400"),
            **CHECKOUT.requests("0+5x10 50+0x390"),
        },
        (quiet("5h"), quiet("6h20m"), quiet("6h50m"), quiet("7h10m")),
        (Sample(LAST_HEARD.name, "6h20m", CHECKOUT, 6 * 3600 + 1200),),
        step="1m",
        lasts_hours=True,
    ),
    Case(
        "the request rate that the alert looks back on is that of all routes over 5 minutes",
        "recording",
        {
            **CHECKOUT.requests("0+10x60", route="/carts"),
            **CHECKOUT.requests("0+20x30 600+0x30", route="/items"),
        },
        (),
        # Of /items the window from 3:00 to 8:00 holds 220 requests, from 3:10 to 5:00, in 290 s of samples.
        (
            Sample(rounded(REQUEST_RATE), "5m", CHECKOUT, 3),
            Sample(rounded(REQUEST_RATE), "8m", CHECKOUT, 1.759),
        ),
    ),
    Case(
        "the age of the telemetry is counted up to 5 minutes",
        "recording",
        collector("1+1x30"),
        (),
        (
            Sample(PIPELINE_AGE.name, "5m", NOBODY, 0),
            Sample(PIPELINE_AGE.name, "9m50s", NOBODY, 290),
            Sample(PIPELINE_AGE.name, "20m", NOBODY, 300),
        ),
    ),
)

ERROR_RATIO_CASES = (
    Case(
        "6 % of requests failing is reported after it has lasted a minute",
        "fires",
        {
            **CHECKOUT.requests("0+47x120"),
            **CHECKOUT.requests("0+2x120", status="503", route="/items"),
            **CHECKOUT.requests("0+1x120", status="500"),
        },
        (quiet("1m"), down("1m10s", "6%"), down("15m", "6%")),
    ),
    Case(
        "exactly 5 % is still allowed",
        "just below",
        {**CHECKOUT.requests("0+19x120"), **CHECKOUT.requests("0+1x120", status="500")},
        (quiet("3m"), quiet("15m")),
    ),
    Case(
        "client errors and redirects are not failures",
        "does not fire",
        {
            **CHECKOUT.requests("0+20x120"),
            **CHECKOUT.requests("0+40x120", status="404"),
            **CHECKOUT.requests("0+10x120", status="302"),
        },
        (quiet("15m"),),
    ),
    Case(
        "everything failing is said so, once per service",
        "fires",
        {
            **CHECKOUT.requests("0+20x120", status="500"),
            **SEARCH.requests("0+20x120"),
        },
        (down("5m", "100%"),),
    ),
    Case(
        "with 19 requests in 5 minutes the worst ratio is not reported",
        "just below",
        {**CHECKOUT.requests("0+0.65x120", status="500")},
        (quiet("10m"), quiet("15m")),
    ),
    Case(
        "with 20 requests in 5 minutes it is, whatever their routes",
        "fires",
        {
            **CHECKOUT.requests("0+3x20", status="500", route="/carts"),
            **CHECKOUT.requests("0+1x20", status="500", route="/items"),
        },
        (down("15m", "100%"),),
        step="1m",
    ),
    Case(
        "a ratio of too few requests, or of none any more, is recorded as 0 and not as a gap",
        "recording",
        {
            **CHECKOUT.requests("0+0.65x120", status="500"),
            **SEARCH.requests("0+20x30 600+0x90", status="500"),
        },
        (),
        (
            Sample(FAILURE_RATIO.name, "4m", CHECKOUT, 0, SEARCH, 1),
            Sample(FAILURE_RATIO.name, "15m", CHECKOUT, 0, SEARCH, 0),
        ),
    ),
    Case(
        "one failed request alone in the night wakes nobody",
        "does not fire",
        {**CHECKOUT.requests("0x30 1x90", status="500")},
        (quiet("6m"), quiet("7m"), quiet("10m")),
    ),
    Case(
        "without a request there is nothing to report",
        "no data",
        COLLECTOR_UP,
        (quiet("10m"),),
    ),
    Case(
        "the failures leave the 5 minutes and the alert ends",
        "resolves",
        {
            **CHECKOUT.requests("0+16x120"),
            **CHECKOUT.requests("0+4x60 240+0x60", status="500"),
        },
        # At 13:40 the window holds the failures from 8:50 to 10:00: 28 of 492 requests.
        (down("8m", "20%"), down("13m40s", "5.691%"), quiet("14m10s"), quiet("16m")),
    ),
)

TELEMETRY_MISSING_CASES = (
    Case(
        "a Collector gone silent is reported 3 minutes and 10 seconds later",
        "fires, just below",
        collector("1+1x30"),
        (quiet("7m"), quiet("8m"), Moment("8m10s", (Firing("3m 10s"),))),
    ),
    Case(
        "a Collector that sends is not reported",
        "does not fire",
        COLLECTOR_UP,
        (quiet("1m"), quiet("10m")),
    ),
    Case(
        "no data at all is an alarm and never a calm",
        "no data",
        NEVER,
        (quiet("50s"), Moment("1m", (Firing("5m 0s"),)), Moment("30m", (Firing("5m 0s"),))),
    ),
    Case(
        "a Collector that can be scraped and pushes nothing is reported all the same",
        "fires",
        {**collector("1+1x30"), 'otelcol_process_uptime{job="collector"}': ALWAYS},
        (Moment("8m10s", (Firing("3m 10s"),)),),
    ),
    Case(
        "of two Collectors the newer sample counts",
        "does not fire",
        {**COLLECTOR_UP, **collector("1+1x6", name="gone")},
        (quiet("5m"), quiet("10m")),
    ),
    Case(
        "the alert ends when the Collector is back",
        "resolves",
        collector("1+1x30 _x30 1+1x30"),
        (Moment("10m", (Firing("5m 0s"),)), quiet("10m10s"), quiet("12m")),
    ),
)

WATCHDOG_CASES = (
    Case(
        "fires from the first evaluation on, with data and without",
        "fires, no data",
        NEVER,
        (Moment("0m", (Firing("1"),)), Moment("1h", (Firing("1"),))),
    ),
)

CASES: dict[Alert, tuple[Case, ...]] = {
    SERVICE_DOWN: SERVICE_DOWN_CASES,
    ERROR_RATIO_HIGH: ERROR_RATIO_CASES,
    TELEMETRY_MISSING: TELEMETRY_MISSING_CASES,
    WATCHDOG: WATCHDOG_CASES,
}


def files(dashboard_uid: str) -> dict[str, Json]:
    """Return the promtool test files of every alert by name; cases that last hours have their own."""
    documents = {}
    for alert in ALERTS:
        quick = [case for case in CASES[alert] if not case.lasts_hours]
        slow = [case for case in CASES[alert] if case.lasts_hours]
        documents[alert.runbook] = _file(alert, quick, dashboard_uid)
        if slow:
            documents[f"{alert.runbook}{SLOW}"] = _file(alert, slow, dashboard_uid)
    return documents


def _file(alert: Alert, cases: Sequence[Case], dashboard_uid: str) -> Json:
    return {
        "rule_files": [RULES_FROM_TESTS],
        "evaluation_interval": EVALUATED_EVERY,
        "tests": [_test(alert, case, dashboard_uid) for case in cases],
    }


def _test(alert: Alert, case: Case, dashboard_uid: str) -> Json:
    test: Json = {
        "name": f"{alert.name}: {case.name} ({case.shows})",
        "interval": case.step,
        "input_series": [{"series": name, "values": values} for name, values in case.series.items()],
    }
    if case.moments:
        test["alert_rule_test"] = [_moment(alert, moment, dashboard_uid) for moment in case.moments]
    if case.samples:
        test["promql_expr_test"] = [_sample(sample) for sample in case.samples]
    return test


def _moment(alert: Alert, moment: Moment, dashboard_uid: str) -> Json:
    firing = [_firing(alert, expected, dashboard_uid) for expected in moment.firing]
    return {"eval_time": moment.at, "alertname": alert.name, "exp_alerts": firing}


def _firing(alert: Alert, expected: Firing, dashboard_uid: str) -> Json:
    series = expected.about.labels() if expected.about else {}
    texts = lanes.texts(alert, ".Value", dashboard_uid)
    return {
        "exp_labels": {**lanes.labels(alert), **series},
        "exp_annotations": {name: _filled(text, alert, expected.value, series) for name, text in texts.items()},
    }


def _filled(text: str, alert: Alert, value: str, series: dict[str, str]) -> str:
    """Return what Prometheus makes of a text: its templates replaced by the expected words."""
    text = text.replace(f"{{{{ .Value | {alert.value_format} }}}}", value)
    for name, content in series.items():
        for template in (f"{{{{ .Labels.{name} }}}}", f"{{{{ urlquery .Labels.{name} }}}}"):
            text = text.replace(template, content)
    return text


def _sample(sample: Sample) -> Json:
    expected = [_expected(sample.expr, sample.about, sample.value)]
    if sample.also_about:
        expected.append(_expected(sample.expr, sample.also_about, sample.also_value))
    return {"expr": sample.expr, "eval_time": sample.at, "exp_samples": expected}


def _expected(expr: str, about: Service, value: float) -> Json:
    pairs = ", ".join(f'{name}="{text}"' for name, text in about.labels().items() if text)
    name = "" if "(" in expr else expr
    return {"labels": f"{name}{{{pairs}}}", "value": value}
