"""Upstream's own tests of tracing, metrics, logging and propagation, run with the lean core in the SDK's place.

The tests come with the source distributions of opentelemetry-api and opentelemetry-sdk in the installed version;
nothing of them is kept here but the names of those that cannot pass, each with the reason.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.equivalence.packages import ecosystem, source
from tests.programs import clean_environ

ROOT = Path(__file__).parents[2]
IN_PLACE = Path(__file__).parent / "in_place"

MODULES: dict[str, dict[str, int]] = {
    "opentelemetry-sdk": {
        "tests/context/test_asyncio.py": 1,
        "tests/logs/test_export.py": 9,
        "tests/logs/test_handler.py": 18,
        "tests/logs/test_logs.py": 5,
        "tests/metrics/integration_test/test_console_exporter.py": 2,
        "tests/metrics/integration_test/test_cpu_time.py": 2,
        "tests/metrics/integration_test/test_disable_default_views.py": 2,
        "tests/metrics/integration_test/test_exemplars.py": 6,
        "tests/metrics/integration_test/test_explicit_bucket_histogram_aggregation.py": 2,
        "tests/metrics/integration_test/test_exponential_bucket_histogram.py": 2,
        "tests/metrics/integration_test/test_exporter_concurrency.py": 1,
        "tests/metrics/integration_test/test_histogram_advisory_explicit_buckets.py": 7,
        "tests/metrics/integration_test/test_histogram_export.py": 3,
        "tests/metrics/integration_test/test_nonfinite_measurements.py": 5,
        "tests/metrics/integration_test/test_provider_shutdown.py": 1,
        "tests/metrics/integration_test/test_sum_aggregation.py": 5,
        "tests/metrics/integration_test/test_time_align.py": 2,
        "tests/metrics/test_backward_compat.py": 3,
        "tests/metrics/test_in_memory_metric_reader.py": 3,
        "tests/trace/export/test_export.py": 10,
        "tests/trace/export/test_in_memory_span_exporter.py": 6,
        "tests/trace/test_globals.py": 1,
        "tests/trace/test_implementation.py": 1,
        "tests/trace/test_span_processor.py": 7,
        "tests/trace/test_trace.py": 67,
    },
    "opentelemetry-api": {
        "tests/propagators/test_propagators.py": 8,
        "tests/trace/propagation/test_tracecontexthttptextformat.py": 17,
    },
}
"""The modules that are run, and how many of their tests must pass *and* use the lean core, not only the API."""

PRIVATE = "looks at private attributes of the SDK's objects"
CONFIGURATOR = "switches a scope off by the SDK's configurators, which are private and experimental"
DISABLED = "OTEL_SDK_DISABLED is the distro's business: it builds no provider then"
DEPRECATED = "instrumentation_info is deprecated since 1.11 and not offered"
LENGTH = "one limit of length holds for all attributes of a span, those of its events and links included"
EMPTY = "an empty variable counts as not set, as the specification wants; upstream reads it as no limit"
SILENT = "a value that is no attribute is marked in what is sent, not logged"
COPIED = "a body is copied when it is emitted: processors of others see a list as a tuple"

CLOCK = "puts a clock of its own into the SDK's instruments"

_TRACE, _LOGS = "tests/trace/test_trace.py", "tests/logs/test_logs.py::TestLoggerProvider"
_PROCESSOR = "tests/logs/test_export.py::TestSimpleLogRecordProcessor"
EXCLUDED: dict[str, str] = {
    f"{_PROCESSOR}::test_simple_log_record_processor_custom_single_obj": COPIED,
    f"{_PROCESSOR}::test_simple_log_record_processor_different_msg_types": COPIED,
    "tests/logs/test_handler.py::TestLoggingHandler"
    "::test_handler_root_logger_with_disabled_sdk_does_not_go_into_recursion_error": DISABLED,
    f"{_LOGS}::test_default_logger_configurator": CONFIGURATOR,
    f"{_LOGS}::test_disabled_logger_skips_emit": CONFIGURATOR,
    f"{_LOGS}::test_get_logger": PRIVATE,
    f"{_LOGS}::test_get_logger_with_sdk_disabled": DISABLED,
    f"{_LOGS}::test_logger_provider_init": PRIVATE,
    f"{_LOGS}::test_logger_provider_with_custom_configurator": CONFIGURATOR,
    f"{_LOGS}::test_logger_provider_with_disabled_configurator": CONFIGURATOR,
    f"{_LOGS}::test_rule_based_logger_configurator": CONFIGURATOR,
    f"{_LOGS}::test_rule_based_logger_configurator_default_when_rules_dont_match": CONFIGURATOR,
    f"{_LOGS}::test_set_logger_configurator_affects_new_loggers": CONFIGURATOR,
    f"{_LOGS}::test_set_logger_configurator_updates_existing_loggers": CONFIGURATOR,
    f"{_LOGS}::test_update_resource": PRIVATE,
    "tests/logs/test_logs.py::TestLogger::test_enabled_disabled_logger_returns_false": CONFIGURATOR,
    "tests/logs/test_logs.py::TestLogger::test_enabled_passes_args_to_processor": PRIVATE,
    "tests/metrics/integration_test/test_console_exporter.py"
    "::TestConsoleExporter::test_console_exporter_with_exemplars": CLOCK,
    f"{_TRACE}::TestTracer::test_get_tracer_sdk": PRIVATE,
    f"{_TRACE}::TestTracer::test_get_tracer_sdk_sets_default_tracer_config_if_configurator_raises": CONFIGURATOR,
    f"{_TRACE}::TestTracer::test_get_tracer_with_sdk_disabled": DISABLED,
    f"{_TRACE}::TestTracer::test_start_span_returns_invalid_span_if_not_enabled": CONFIGURATOR,
    f"{_TRACE}::TestTracer::test_tracer_provider_accepts_concurrent_multi_span_processor": PRIVATE,
    f"{_TRACE}::TestSpanCreation::test_instrumentation_info": DEPRECATED,
    f"{_TRACE}::TestSpanCreation::test_invalid_instrumentation_info": DEPRECATED,
    f"{_TRACE}::TestSpanCreation::test_span_processor_for_source": PRIVATE,
    f"{_TRACE}::TestSpanCreation::test_update_resource": PRIVATE,
    f"{_TRACE}::TestSpan::test_invalid_attribute_values": SILENT,
    f"{_TRACE}::TestSpanLimits::test_span_limits_code": LENGTH,
    f"{_TRACE}::TestSpanLimits::test_span_limits_default_to_env": LENGTH,
    f"{_TRACE}::TestSpanLimits::test_span_limits_env": LENGTH,
    f"{_TRACE}::TestSpanLimits::test_span_no_limits_env": EMPTY,
    f"{_TRACE}::TestTracerProvider::test_default_tracer_configurator": CONFIGURATOR,
    f"{_TRACE}::TestTracerProvider::test_rule_based_tracer_configurator": CONFIGURATOR,
    f"{_TRACE}::TestTracerProvider::test_rule_based_tracer_configurator_default_when_rules_dont_match": CONFIGURATOR,
    f"{_TRACE}::TestTracerProvider"
    "::test_set_tracer_configurator_sets_default_tracer_config_if_configurator_raises": CONFIGURATOR,
    f"{_TRACE}::TestTracerProvider::test_tracer_provider_init_default": PRIVATE,
}


@pytest.mark.parametrize("distribution", MODULES)
def test_the_lean_core_passes_upstreams_tests(distribution: str, tmp_path: Path) -> None:
    """All but those excluded for a reason, which all still fail; and no module has fewer than it had."""
    outcomes = _run(source(distribution), tuple(MODULES[distribution]), tmp_path / "report.json")
    failed = {test for test, (outcome, _) in outcomes.items() if outcome == "failed"}
    assert failed == {test for test in EXCLUDED if test.partition("::")[0] in MODULES[distribution]}
    proven = [test for test, (outcome, touched) in outcomes.items() if outcome == "passed" and touched]
    counts = {module: sum(test.startswith(f"{module}::") for test in proven) for module in MODULES[distribution]}
    assert {module: count for module, count in counts.items() if count < MODULES[distribution][module]} == {}


def _run(suite: Path, modules: tuple[str, ...], report: Path) -> dict[str, tuple[str, bool]]:
    """Run `modules` in a process of their own; return, for each test, its outcome and whether it was about us."""
    pytest_alone = ("-m", "pytest", "-q", "-c", os.devnull, f"--rootdir={suite}", "-p", "no:cacheprovider")
    path = os.pathsep.join([str(ROOT), str(IN_PLACE), str(ecosystem())])
    done = subprocess.run(
        [sys.executable, *pytest_alone, "-p", "lean_in_place", *modules],
        cwd=suite,
        env={**clean_environ(), "PYTHONPATH": path, "LEAN_IN_PLACE_REPORT": str(report)},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert report.exists(), done.stdout[-4000:] + done.stderr[-4000:]
    found: dict[str, tuple[str, bool]] = json.loads(report.read_text())
    return found
