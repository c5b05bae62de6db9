"""The upstream pipeline keeps its accounts: what arrived, what failed, and metric points that only wait."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from opentelemetry.sdk.metrics.export import MetricExportResult
from opentelemetry.sdk.trace.export import SpanExportResult

from otel_forge.delivery.accounts import Account, Accounts
from otel_forge.delivery.outage import Outage
from otel_forge.notices import Rationed
from otel_forge.otlp.exporters import Exporter
from otel_forge.sdk.upstream import keep_accounts
from otel_forge.settings import Signal


def booked(signal: Signal, results: list[object], *, cumulative: bool = True) -> tuple[SimpleNamespace, Accounts]:
    """Return an exporter that answers with `results` in turn, its accounts kept."""
    accounts, answers = Accounts(), iter(results)
    implementation = SimpleNamespace(export=lambda batch: next(answers))
    outage = Outage(accounts, Rationed(say=lambda line: None))
    exporter = Exporter("test", implementation, "http://localhost:4318", lambda: "HTTP 503")
    keep_accounts(exporter, signal, accounts, outage, cumulative=cumulative)
    return implementation, accounts


def test_spans_of_a_failed_request_are_lost() -> None:
    """Upstream takes a batch from its queue before it sends it."""
    exporter, accounts = booked("traces", [SpanExportResult.SUCCESS, SpanExportResult.FAILURE])
    accounts.created("traces", 5)
    exporter.export(["span"] * 3)
    exporter.export(["span"] * 2)
    assert accounts.read()["traces"] == Account(created=5, delivered=3, failed=2)


@pytest.mark.parametrize(("cumulative", "missing", "lost"), [(True, 0, 0), (False, 4, 4)])
def test_cumulative_points_wait_and_delta_points_are_lost(cumulative: bool, missing: int, lost: int) -> None:
    """A cumulative series is sent again as a whole; a delta that failed is gone."""
    failure, success = MetricExportResult.FAILURE, MetricExportResult.SUCCESS
    exporter, accounts = booked("metrics", [failure, failure, success], cumulative=cumulative)
    for points in (2, 2, 3):
        exporter.export(["point"] * points)
    account = accounts.read()["metrics"]
    assert (account.missing, account.lost) == (missing, lost)
