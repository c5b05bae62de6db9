"""Numbered telemetry: every span and log record carries a number of its own, so losses and repetitions can be named."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from tests.otlp_receiver import OtlpReceiver, attributes, decoded, points

NUMBER = "test.number"
"""The attribute of spans and log records that holds the number."""

Number = int | str
Series = tuple[str, str]
"""The instance that reports, and the name of the metric."""


class Tally:
    """What arrived, by number: how often, and from which instance; of metrics, the last value of each series."""

    def __init__(self) -> None:
        self.numbers: dict[str, Counter[Number]] = {"traces": Counter(), "logs": Counter()}
        self.instances: dict[Number, str] = {}
        self.processes: dict[Number, int] = {}
        self.sums: dict[Series, float] = {}
        self.points: Counter[tuple[Series, int]] = Counter()
        self.requests: Counter[str] = Counter()
        self.bytes = 0

    def add(self, path: str, body: bytes) -> None:
        """Book one OTLP request."""
        self.requests[path] += 1
        self.bytes += len(body)
        message = decoded(path, body)
        if path == "/v1/metrics":
            self._add_metrics(message)
        else:
            signal = path.removeprefix("/v1/")
            for resource, record in _records(signal, message):
                number = attributes(record.attributes).get(NUMBER)
                if number is not None:
                    self.numbers[signal][number] += 1
                    self.instances[number] = str(resource.get("service.instance.id", ""))
                    self.processes[number] = int(resource.get("process.pid", 0))

    def _add_metrics(self, message: Any) -> None:
        for of_resource in message.resource_metrics:
            instance = str(attributes(of_resource.resource.attributes).get("service.instance.id", ""))
            for of_scope in of_resource.scope_metrics:
                for metric in of_scope.metrics:
                    if metric.WhichOneof("data") == "sum":
                        for point in points(metric):
                            series = (instance, metric.name)
                            self.points[series, point.time_unix_nano] += 1
                            self.sums[series] = point.as_double or point.as_int

    def total(self, name: str) -> float:
        """Return the sum of the metric `name` over all instances."""
        return sum(value for (_, metric), value in self.sums.items() if metric == name)

    def by_instance(self, name: str) -> dict[str, float]:
        """Return the last value of the metric `name` of each instance."""
        return {instance: value for (instance, metric), value in self.sums.items() if metric == name}

    def missing(self, signal: str, expected: Iterable[Number]) -> list[Number]:
        """Return the numbers that should have arrived and have not."""
        arrived = self.numbers[signal]
        return [number for number in expected if number not in arrived]

    def repeated(self, signal: str) -> list[Number]:
        """Return the numbers that arrived more than once."""
        return [number for number, times in self.numbers[signal].items() if times > 1]


class NumberedReceiver(OtlpReceiver):
    """Books numbers instead of keeping what arrives, so that hours of traffic fit into memory."""

    def __init__(self) -> None:
        super().__init__()
        self.tally = Tally()

    def keep(self, path: str, body: bytes) -> None:
        """Book one request."""
        with self._changed:
            self.tally.add(path, body)
            self._changed.notify_all()

    def wait_for_all(self, expected: Mapping[str, Collection[Number]], timeout: float = 30.0) -> None:
        """Return when all numbers expected of each signal are here; fail after `timeout` seconds, and name the rest."""
        missing, arrived = self.tally.missing, self.tally.numbers
        try:
            self.wait_for(
                lambda _: all(
                    len(arrived[signal]) >= len(numbers) and not missing(signal, numbers)
                    for signal, numbers in expected.items()
                ),
                timeout,
            )
        except AssertionError:
            lost = {signal: missing(signal, numbers) for signal, numbers in expected.items()}
            raise AssertionError(f"not arrived within {timeout} s: {in_ranges(lost)}") from None


def in_ranges(lost: Mapping[str, list[Number]]) -> str:
    """Return numbers as ranges: ``traces: 3 (4-5, 9)``."""
    return "; ".join(
        f"{signal}: {len(numbers)} ({', '.join(_ranges(numbers)[:20])})" for signal, numbers in lost.items() if numbers
    )


def _ranges(numbers: list[Number]) -> list[str]:
    found: list[list[Number]] = []
    for number in numbers:
        if found and isinstance(number, int) and number - 1 == found[-1][-1]:
            found[-1][1:] = [number]
        else:
            found.append([number])
    return ["-".join(map(str, ends)) for ends in found]


def _records(signal: str, message: Any) -> Iterable[tuple[dict[str, Any], Any]]:
    if signal == "traces":
        for of_resource in message.resource_spans:
            resource = attributes(of_resource.resource.attributes)
            yield from ((resource, span) for of_scope in of_resource.scope_spans for span in of_scope.spans)
    else:
        for of_resource in message.resource_logs:
            resource = attributes(of_resource.resource.attributes)
            yield from ((resource, record) for of_scope in of_resource.scope_logs for record in of_scope.log_records)


def numbers_by_instance(tally: Tally) -> dict[str, list[Number]]:
    """Return the numbers of spans that each instance sent."""
    found: dict[str, list[Number]] = defaultdict(list)
    for number in tally.numbers["traces"]:
        found[tally.instances[number]].append(number)
    return dict(found)
