"""The measured process: makes the requests it is told to, gets all telemetry out, and reports what that took."""

from __future__ import annotations

from benchmarks.subject.vendors import set_up

set_up()

# Everything else is imported after the products that must come first.
import gc  # noqa: E402
import threading  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable, Iterable  # noqa: E402
from importlib import metadata  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

from benchmarks.subject import control, handing_over, requests_by_kind, sampler, units  # noqa: E402
from benchmarks.subject.app import create_app  # noqa: E402
from benchmarks.subject.flushing import flush, pipeline  # noqa: E402
from benchmarks.subject.request_logs import add_request_log  # noqa: E402

_SHOWN_PACKAGES = ("opentelemetry", "otel-forge", "flask", "werkzeug", "gunicorn", "logfire", "ddtrace", "sentry")
_PAGE_KIB = 4


class Worker:
    """Holds the app and carries out the harness's commands."""

    def __init__(self) -> None:
        self._app, self._logged_app = create_app(), add_request_log(create_app())
        self._number = 0

    def handle(self, command: dict[str, Any]) -> dict[str, Any]:
        """Carry out one command; its ``do`` names the method, the rest are the arguments."""
        arguments = dict(command)
        actions: dict[str, Callable[..., dict[str, Any]]] = {
            "requests": self.requests,
            "profile": self.profile,
            "unit": self.unit,
            "hand over": self.hand_over,
            "flush": self.flush,
            "about": self.about,
        }
        return actions[arguments.pop("do")](**arguments)

    def requests(self, kind: str, count: int, threads: int = 1) -> dict[str, Any]:
        """Make `count` requests in all on `threads` threads, flush, and return the cost of one."""
        gc.collect()
        wall, cpu = time.perf_counter(), time.process_time()
        wrong = self.requests_unmeasured(kind, count, threads)
        served = time.process_time()
        flush()
        return {
            "cpu_us": (time.process_time() - cpu) / count * 1e6,
            "unflushed_us": (served - cpu) / count * 1e6,
            "wall_us": (time.perf_counter() - wall) / count * 1e6,
            "wrong": wrong,
            "rss_kib": rss_kib(),
        }

    def profile(self, kind: str, count: int, interval_us: int) -> dict[str, Any]:
        """Make `count` requests while every thread's stack is sampled; return microseconds of CPU by function."""
        with sampler.Sampler(interval_us / 1e6) as running:
            self.requests_unmeasured(kind, count)
            flush()
        return running.report(count)

    def unit(self, name: str, count: int) -> dict[str, Any]:
        """Repeat one operation `count` times and return what it took on its own thread and in all."""
        return {**units.measure(name, count), "rss_kib": rss_kib()}

    def hand_over(self, count: int) -> dict[str, Any]:
        """Make `count` spans and return how long handing them over took."""
        gc.collect()
        return handing_over.measure(count)

    def flush(self) -> dict[str, Any]:
        """Deliver everything."""
        flush()
        return {}

    def about(self) -> dict[str, Any]:
        """Return the pipeline in use and the versions of what is installed."""
        names = {dist.metadata["Name"].lower(): dist.version for dist in metadata.distributions()}
        shown = {name: names[name] for name in sorted(names) if name.startswith(_SHOWN_PACKAGES)}
        return {"pipeline": pipeline(), "versions": shown, "units": units.available()}

    def requests_unmeasured(self, kind: str, count: int, threads: int = 1) -> int:
        """Make `count` requests in all on `threads` threads; return how many were answered wrongly."""
        if threads == 1:
            return self._make_on_this_thread(kind, count)
        wrong: list[int] = []
        share = count // threads

        def part() -> None:
            wrong.append(self._make_on_this_thread(kind, share))

        running = [threading.Thread(target=part) for _ in range(threads)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
        return sum(wrong)

    def _make_on_this_thread(self, kind: str, count: int) -> int:
        request = requests_by_kind.kind_named(kind)
        expected = str(request.status)
        first = self._number
        self._number += count
        return sum(self._one(request, number) != expected for number in range(first, first + count))

    def _one(self, kind: requests_by_kind.Kind, number: int) -> str:
        """Return the status code of one request, made as a WSGI server makes it."""
        statuses: list[str] = []

        def start_response(status: str, headers: Any, error: Any = None) -> Callable[[bytes], Any]:
            statuses.append(status)
            return lambda _: None

        app = self._logged_app if kind.is_logged else self._app
        body: Iterable[bytes] = app(requests_by_kind.wsgi_environ(kind, number), start_response)
        for _ in body:
            pass
        close = getattr(body, "close", None)
        if close is not None:
            close()
        return statuses[-1][:3]


def rss_kib() -> int:
    """Return the memory that this process has in RAM, in KiB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_KIB


if __name__ == "__main__":
    control.serve(Worker().handle)
