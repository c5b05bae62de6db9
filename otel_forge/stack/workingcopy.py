"""The working copy of the configuration in the state folder, with what a native run must fill in."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from otel_forge.errors import StackError
from otel_forge.stack import ports
from otel_forge.stack.components import BY_NAME
from otel_forge.stack.state import StateFolder

SCRAPED = Path("targets") / "scrape"
_LAID = ".laid"  # in the folder above: the names of the files that the configuration brought


@dataclass(frozen=True)
class Run:
    """What of a run the configuration depends on."""

    components: Sequence[str]
    """All that run, be their configuration laid anew or not."""
    ports: Mapping[str, int]
    lane: str
    tempo_major: int = 3


def lay(bundle: Path, folder: StateFolder, names: Sequence[str], run: Run) -> None:
    """Copy the configuration of these components out of the bundle, each in place of its last copy."""
    after: dict[str, Callable[[Path], None]] = {
        "prometheus": lambda copy: _finish_prometheus(copy, folder.config / "prometheus", run),
        "tempo": lambda copy: _choose_tempo(copy, run.tempo_major),
        "grafana": lambda copy: _choose_lane(copy, run.lane),
    }
    for name in names:
        source = bundle / BY_NAME[name].config
        if not source.is_dir():
            raise StackError(f"{source} is missing: {bundle} is no complete configuration folder of otel-forge.")
        try:
            _replace(source, folder.config / name, after.get(name, lambda _: None))
        except (OSError, shutil.Error) as error:
            raise StackError(f"The configuration of {name} cannot be copied: {error}.") from error


def _replace(source: Path, target: Path, finish: Callable[[Path], None]) -> None:
    draft = target.with_name(f".{target.name}.new")
    shutil.rmtree(draft, ignore_errors=True)
    # Rule tests and generators need not be there at run time; modes are not copied: wheels may be read-only.
    shutil.copytree(
        source, draft, copy_function=shutil.copyfile, ignore=shutil.ignore_patterns("__pycache__", "tests", "src")
    )
    finish(draft)
    shutil.rmtree(target, ignore_errors=True)
    draft.rename(target)


def _finish_prometheus(copy: Path, last: Path, run: Run) -> None:
    _write_targets(copy, run)
    _keep_scraped(copy / SCRAPED, last / SCRAPED)


def _keep_scraped(folder: Path, last: Path) -> None:
    """Take over the target files that somebody, such as the demo, has put into the last copy.

    Those that came with the configuration do not count: what its owner has removed there must go here, too.
    """
    folder.mkdir(parents=True, exist_ok=True)
    laid = last / _LAID
    ours = laid.read_text(encoding="utf-8").splitlines() if laid.is_file() else []
    own = sorted(file.name for file in folder.glob("*.yaml"))
    (folder / _LAID).write_text("".join(f"{name}\n" for name in own), encoding="utf-8")
    for file in last.glob("*.yaml"):
        if file.name not in {*ours, *own}:
            shutil.copyfile(file, folder / file.name)


def _write_targets(copy: Path, run: Run) -> None:
    """Write whom Prometheus scrapes and notifies, with the ports of this run (JSON is YAML, too)."""
    pages = {
        "prometheus": ports.PROMETHEUS,
        "collector": ports.COLLECTOR_METRICS,
        "loki": ports.LOKI,
        "tempo": ports.TEMPO,
        "alertmanager": ports.ALERTMANAGER,
        "grafana": ports.GRAFANA,
    }
    scraped = [
        {"targets": [f"127.0.0.1:{run.ports[port.key]}"], "labels": {"job": name}}
        for name, port in pages.items()
        if name in run.components
    ]
    notified = [{"targets": [f"127.0.0.1:{run.ports[ports.ALERTMANAGER.key]}"]}] if run.lane == "prometheus" else []
    targets = copy / "targets"
    targets.mkdir(exist_ok=True)
    for file, groups in (("stack.yaml", scraped), ("alertmanager.yaml", notified)):
        header = "# Written by `otel-forge up` for this run.\n"
        (targets / file).write_text(header + json.dumps(groups, indent=1) + "\n", encoding="utf-8")


def _choose_tempo(copy: Path, major: int) -> None:
    """Put the file for this Tempo's major version at the usual name."""
    older = copy / f"tempo-{major}.yaml"
    if older.is_file():
        older.replace(copy / "tempo.yaml")


def _choose_lane(copy: Path, lane: str) -> None:
    """Leave Grafana the alerting files of the chosen lane only."""
    lanes = copy / "provisioning" / "alerting"
    chosen = lanes / lane
    if not chosen.is_dir():
        return
    kept = copy / "provisioning" / ".alerting"
    chosen.rename(kept)
    shutil.rmtree(lanes)
    kept.rename(lanes)
