"""Gathers what an incident keeps: stacks, log lines, output and the state of all processes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil

from otel_forge.delivery.status import read_all
from otel_forge.health.heartbeat import Beat
from otel_forge.monitor import stacks
from otel_forge.monitor.incidents import Incidents, last_log_lines
from otel_forge.monitor.judging import EXITED, Evidence, Findings
from otel_forge.monitor.sampling import ProcessSample, Sample
from otel_forge.settings import Settings


class Collector:
    """Keeps incidents of `service`, whose processes tell how they do in `folder`."""

    def __init__(
        self, settings: Settings, service: str, command: Sequence[str], folder: Path, incidents: Incidents
    ) -> None:
        self._settings = settings
        self._service = service
        self._command = list(command)
        self._folder = folder
        self._incidents = incidents

    def keep(
        self,
        evidence: Evidence,
        samples: Iterable[Sample],
        beats: Sequence[Beat],
        findings: Findings,
        output: Sequence[str],
    ) -> Path:
        """Write an incident; return its folder. Raises OSError where that cannot be."""
        taken = list(samples)
        processes = taken[-1].processes if taken and evidence.reason != EXITED else ()
        texts = {
            "stacks.txt": stacks.gather(self._folder, [process.pid for process in processes]),
            "log.txt": last_log_lines(self._settings.log_files.folder, self._service),
            "output.txt": "".join(f"{line}\n" for line in output),
        }
        state = {
            "service": self._service,
            "reason": evidence.reason,
            "evidence": evidence.detail,
            "worker": evidence.pid,
            "excuses": findings.excuses,
            "command": self._command,
            "processes": list(_described(processes)),
            "heartbeats": [asdict(beat) for beat in beats],
            "samples": [_in_short(sample) for sample in taken],
            "accounts": self._accounts(),
        }
        return self._incidents.keep(evidence.reason, {name: text for name, text in texts.items() if text}, state)

    def _accounts(self) -> list[dict[str, Any]]:
        """Return what the app's processes say of their telemetry, where they keep a spool."""
        with suppress(OSError):
            return [asdict(one) for one in read_all(self._settings.spool.folder) if one.service == self._service]
        return []


def _described(processes: Iterable[ProcessSample]) -> Iterator[dict[str, Any]]:
    for process in processes:
        yield {**asdict(process), "sockets": _sockets_of(process.pid)}


def _sockets_of(pid: int) -> int | None:
    try:
        return len(psutil.Process(pid).net_connections())
    except (psutil.Error, OSError):
        return None


def _in_short(sample: Sample) -> dict[str, Any]:
    host = sample.host
    return {
        "time": sample.time,
        "host": {"cpu": round(host.cpu, 1), "memory": host.memory, "disk": host.disk},
        "memory": sample.memory,
        "cpu": round(sum(process.cpu for process in sample.processes), 3),
        "processes": len(sample.processes),
    }
