"""The metrics of the monitor: the host, the processes of the app together, and restarts.

Names, units and attributes are those of the semantic conventions (``system.*``, ``process.*``); restarts have none, so
theirs are ours.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from otel_forge.monitor.sampling import ProcessSample, Sample

RESTARTS, GIVEN_UP = "otel_forge.restarts", "otel_forge.restarts.given_up"
_MODES = {"irq": "interrupt", "softirq": "interrupt"}
Read = Callable[[Sample], Iterable[Observation]]


class Measures:
    """Offers the last sample to a meter, whenever that collects."""

    def __init__(self, meter: Meter) -> None:
        self.sample: Sample | None = None
        self.given_up = False
        self._meter = meter
        self._restarts = meter.create_counter(RESTARTS, "{restart}", "Restarts of the app or of one of its workers.")
        meter.create_observable_gauge(
            GIVEN_UP, [lambda options: [Observation(int(self.given_up))]], "{state}", "1 once restarts have not helped."
        )
        self._offer_host()
        self._offer_app()

    def count_restart(self, reason: str) -> None:
        """Count a restart by its reason."""
        self._restarts.add(1, {"reason": reason})

    def _offer_host(self) -> None:
        gauge, amount = self._gauge, self._amount
        gauge("system.cpu.utilization", "1", "CPU time by mode, of all CPUs.", _cpu_modes)
        amount("system.memory.usage", "By", "Memory of the host.", _memory)
        gauge("system.memory.utilization", "1", "The same as a share.", _memory_shares)
        amount("system.filesystem.usage", "By", "The disk that is watched.", _disk)
        gauge("system.filesystem.utilization", "1", "The same as a share.", _disk_shares)

    def _offer_app(self) -> None:
        gauge, amount = self._gauge, self._amount
        self._meter.create_observable_counter(
            "process.cpu.time", [self._reading(_cpu_time)], "s", "CPU time of all processes of the app."
        )
        amount("process.memory.usage", "By", "Resident memory of all of them.", _sum_of(lambda one: one.rss))
        amount("process.memory.virtual", "By", "Virtual memory of all of them.", _sum_of(lambda one: one.virtual))
        amount("process.thread.count", "{thread}", "Threads of all of them.", _sum_of(lambda one: one.threads))
        amount(
            "process.unix.file_descriptor.count", "{file_descriptor}", "Files of all.", _sum_of(lambda one: one.files)
        )
        gauge("process.uptime", "s", "Age of the first of them.", _uptime)

    def _gauge(self, name: str, unit: str, description: str, read: Read) -> None:
        self._meter.create_observable_gauge(name, [self._reading(read)], unit, description)

    def _amount(self, name: str, unit: str, description: str, read: Read) -> None:
        self._meter.create_observable_up_down_counter(name, [self._reading(read)], unit, description)

    def _reading(self, read: Read) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def callback(options: CallbackOptions) -> Iterable[Observation]:
            return [] if self.sample is None else list(read(self.sample))

        return callback


def _cpu_modes(sample: Sample) -> Iterator[Observation]:
    shares: dict[str, float] = {}
    for mode, share in sample.host.modes.items():
        name = _MODES.get(mode, mode)
        shares[name] = shares.get(name, 0.0) + share
    for name, share in shares.items():
        yield Observation(share, {"cpu.mode": name})


def _memory(sample: Sample) -> Iterator[Observation]:
    return _by_state("system.memory.state", sample.host.memory_bytes)


def _memory_shares(sample: Sample) -> Iterator[Observation]:
    return _by_state("system.memory.state", _shares(sample.host.memory_bytes))


def _disk(sample: Sample) -> Iterator[Observation]:
    return _by_state("system.filesystem.state", sample.host.disk_bytes)


def _disk_shares(sample: Sample) -> Iterator[Observation]:
    return _by_state("system.filesystem.state", _shares(sample.host.disk_bytes))


def _by_state(key: str, amounts: Mapping[str, float]) -> Iterator[Observation]:
    for state, amount in amounts.items():
        yield Observation(amount, {key: state})


def _shares(amounts: Mapping[str, float]) -> dict[str, float]:
    total = sum(amounts.values())
    return {state: amount / total for state, amount in amounts.items()} if total else {}


def _cpu_time(sample: Sample) -> Iterator[Observation]:
    yield Observation(sample.user_seconds, {"cpu.mode": "user"})
    yield Observation(sample.system_seconds, {"cpu.mode": "system"})


def _uptime(sample: Sample) -> Iterator[Observation]:
    if sample.processes:
        yield Observation(max(0.0, time.time() - sample.processes[0].started))


def _sum_of(part: Callable[[ProcessSample], int]) -> Read:
    return lambda sample: [Observation(sum(map(part, sample.processes)))] if sample.processes else []
