"""Gate P3: gunicorn under a steady load while the back end is healthy, dead, slow or a black hole, in turns.

Every round serves for some seconds under each behaviour, beginning with another one each time. The same server runs
throughout, so only the back end differs. Healthy comes twice: the second shows how much two equal runs differ.
Afterwards a program of one thread makes spans, some 12,000 a second, and looks at how long each one held it up.
"""

from __future__ import annotations

from benchmarks.measure import HAND_OVERS, Extent
from benchmarks.process import Commanded
from benchmarks.results import Results
from benchmarks.serving import Server
from benchmarks.spread import turn
from benchmarks.stage import Stage
from benchmarks.subject.requests_by_kind import kind_named
from benchmarks.variants import FORGE, Variant

HEALTHY, HEALTHY_AGAIN = "healthy", "healthy again"
BEHAVIOURS = (HEALTHY, "refuse", "black_hole", "slow_answer", HEALTHY_AGAIN)
KIND = "asset"
PACE = 200.0
SETTLING = 1.5
"""Seconds of load that are not measured after a change: connections break, what was held is sent."""


def faults(stage: Stage, variants: list[Variant], extent: Extent, results: Results) -> None:
    """Measure latency at a steady pace, and handing over, under each behaviour of the back end."""
    variant = next((one for one in variants if one.name == FORGE), None)
    if variant is None:
        return
    proxy = stage.fault_proxy()
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": str(proxy.ask(do="address")["address"])}
    server = Server(stage, variant, environ)
    _latencies(stage, server, proxy, extent, results)
    with stage.subject(variant, "worker", environ) as worker:  # which takes over what the server has left in the spool
        _hand_overs(stage, worker, proxy, results)
    results.deliveries["faults", variant.name].add(server.requests, kind_named(KIND).implied, stage.arrived(variant))


def _latencies(stage: Stage, server: Server, proxy: Commanded, extent: Extent, results: Results) -> None:
    try:
        server.wait()
        server.load(stage, SETTLING)
        for number in range(extent.fault_rounds):
            for behaviour in turn(BEHAVIOURS, number):
                proxy.ask(do="be", behaviour=behaviour.partition(" ")[0])
                server.load(stage, SETTLING, rate=PACE)
                served, wrong = server.load(stage, extent.load_seconds, rate=PACE)
                results.under_fault[behaviour].append(served)
                results.wrong[FORGE] += wrong
            stage.say(f"faults: round {number + 1} of {extent.fault_rounds}")
        proxy.ask(do="be", behaviour=HEALTHY)
        server.load(stage, 4 * SETTLING, rate=PACE)
    finally:
        server.end()


def _hand_overs(stage: Stage, worker: Commanded, proxy: Commanded, results: Results) -> None:
    worker.ask(do="hand over", count=HAND_OVERS // 10)
    for behaviour in BEHAVIOURS[:-1]:
        proxy.ask(do="be", behaviour=behaviour)
        results.handing_over[behaviour] = worker.ask(do="hand over", count=HAND_OVERS, patience=120)
        stage.say(f"handing over: {behaviour.replace('_', ' ')}")
    proxy.ask(do="be", behaviour=HEALTHY)
    worker.ask(do="flush", patience=120)
