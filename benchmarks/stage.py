"""What every measurement stands on: the receiver, the neighbour service, and the variants' environments."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType

from benchmarks.arrivals import Arrivals
from benchmarks.process import Commanded, ProcessFailed, launched, show_harness
from benchmarks.variants import Addresses, Variant

Find = Callable[[Variant], Path]
Say = Callable[[str], None]


class Stage:
    """Starts the receiver and the neighbour; starts workers of variants. `find` gives a variant's ``bin`` folder."""

    def __init__(self, find: Find, say: Say) -> None:
        self.find = find
        self.say = say
        self.scratch = Path(tempfile.mkdtemp(prefix="benchmark-"))
        show_harness(self.scratch)
        self._processes: list[Commanded] = []
        self._sink = self._own("sink")
        served = self._sink.ask(do="addresses")
        self.addresses = Addresses(served["http"], served["grpc"], self._own("neighbour").ask(do="address")["address"])
        self.load = self._own("load")

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for process in reversed(self._processes):
            process.end()
        shutil.rmtree(self.scratch, ignore_errors=True)

    def settings(self, variant: Variant) -> dict[str, str]:
        """Return the environment variables of the variant's processes; what they keep goes to the scratch folder."""
        kept = {"TMPDIR": str(self.scratch), "OTEL_FORGE_SPOOL_DIR": str(self.scratch / "spool" / variant.name)}
        return {**variant.settings(self.addresses), **kept}

    def program(self, variant: Variant, *program: str) -> list[str]:
        """Return the command line that runs `program` as the variant does."""
        return launched(variant.started, self.find(variant), *program)

    def subject(self, variant: Variant, module: str, environ: Mapping[str, str] | None = None) -> Commanded:
        """Start a module of `benchmarks.subject` as the variant does; the caller ends it."""
        command = self.program(variant, "-m", f"benchmarks.subject.{module}")
        settings = {**self.settings(variant), **(environ or {})}
        return Commanded(command, settings, name=variant.name, scratch=self.scratch)

    def workers(self, variants: list[Variant]) -> dict[str, Commanded]:
        """Start a worker for each variant; they end with the stage. One that doesn't start raises ProcessFailed."""
        workers = {}
        for variant in variants:
            worker = workers[variant.name] = self.subject(variant, "worker")
            self._processes.append(worker)
        for variant in variants:
            check_pipeline(variant, str(workers[variant.name].ask(do="about")["pipeline"]))
        return workers

    def fault_proxy(self) -> Commanded:
        """Start a proxy in front of the receiver that fails as it is told to; it ends with the stage."""
        return self._own("fault_proxy", self.addresses.otlp_http)

    def arrived(self, variant: Variant) -> Arrivals:
        """Return what `variant` delivered since this was last asked."""
        return Arrivals(**self._sink.ask(do="counted", variant=variant.name))

    def _own(self, module: str, *arguments: str) -> Commanded:
        command = [sys.executable, "-m", f"benchmarks.{module}", *arguments]
        process = Commanded(command, {}, name=module, scratch=self.scratch)
        self._processes.append(process)
        return process


def check_pipeline(variant: Variant, found: str) -> None:
    """Raise ProcessFailed unless a variant runs the pipeline it is named after: a name is no evidence."""
    if variant.pipeline and not found.startswith(variant.pipeline):
        raise ProcessFailed(f"{variant.name} runs on {found or 'no provider at all'}, not on {variant.pipeline}*")


def usable(stage: Stage, variants: list[Variant]) -> tuple[list[Variant], dict[str, str], dict[str, dict[str, str]]]:
    """Return the variants that start here, why the others don't, and the versions that each one runs."""
    good, skipped, versions = [], {}, {}
    for variant in variants:
        try:
            with stage.subject(variant, "worker") as worker:
                about = worker.ask(do="about")
                check_pipeline(variant, about["pipeline"])
                answer = worker.ask(do="requests", kind="asset", count=2)
                if answer["wrong"]:
                    raise ProcessFailed(f"{variant.name}: the app answers wrongly")
        except Exception as error:  # noqa: BLE001 - whatever the reason, this variant is left out and the reason told
            skipped[variant.name] = str(error)
            stage.say(f"left out: {error}")
        else:
            good.append(variant)
            versions[variant.name] = about["versions"]
        stage.arrived(variant)
    return good, skipped, versions
