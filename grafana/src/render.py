"""Writes dashboards, provisioning, rules and rule tests: `python -m grafana.src.render [--check]`.

Everything written is committed; `--check` writes nothing and says which files differ from what would be.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder

from grafana.src import lanes, rule_tests, sources
from grafana.src.boards import BOARDS, Board, service

ROOT = Path(__file__).resolve().parents[2]
DASHBOARDS = "grafana/dashboards"
PROVISIONING = "grafana/provisioning"
RULES = "backends/prometheus/rules/forge.yaml"
RULE_TESTS = "backends/prometheus/tests"
MADE = "# Made by `python -m grafana.src.render`: change grafana/src and run that again.\n"

# Everything the SDK writes into a link on a panel that Grafana reads only from a link on a dashboard.
_NOT_ON_A_DATA_LINK = (
    "asDropdown",
    "icon",
    "includeVars",
    "keepTime",
    "placement",
    "tags",
    "tooltip",
    "type",
)


def files() -> dict[str, str]:
    """Return the text of every generated file by its path in the repository."""
    boards = {board.name: rendered(board) for board in BOARDS}
    rules: Mapping[str, sources.Json] = {
        f"{PROVISIONING}/datasources/forge.yaml": sources.provisioned(),
        f"{PROVISIONING}/dashboards/forge.yaml": dashboard_provider(),
        f"{PROVISIONING}/alerting/grafana/forge.yaml": lanes.grafana_rules(
            service.UID, lambda title: panel_id(boards["service"], title)
        ),
        f"{PROVISIONING}/alerting/prometheus/forge.yaml": lanes.grafana_silent(),
        RULES: lanes.prometheus_rules(service.UID),
        **{f"{RULE_TESTS}/{name}.yaml": text for name, text in rule_tests.files(service.UID).items()},
    }
    return {
        **{f"{DASHBOARDS}/{name}.json": _json(dashboard) for name, dashboard in boards.items()},
        **{path: _yaml(document) for path, document in rules.items()},
    }


def rendered(board: Board) -> dict[str, Any]:
    """Return a dashboard as the classic JSON that Grafana reads, panels numbered in reading order."""
    document: dict[str, Any] = json.loads(json.dumps(board.build().build(), cls=JSONEncoder))
    for number, panel in enumerate(document["panels"], start=1):
        panel["id"] = number
        for link in panel.get("fieldConfig", {}).get("defaults", {}).get("links", []):
            for key in _NOT_ON_A_DATA_LINK:
                link.pop(key, None)
    return document


def panel_id(dashboard: Mapping[str, Any], title: str) -> int:
    """Return the number of the panel with a title."""
    return next(int(panel["id"]) for panel in dashboard["panels"] if panel["title"] == title)


def dashboard_provider() -> sources.Json:
    """Return the file that tells Grafana to read the dashboards from the folder named by FORGE_DASHBOARDS."""
    provider = {
        "name": "otel-forge",
        "orgId": 1,
        "folder": "otel-forge",
        "folderUid": "otel-forge",
        "type": "file",
        "disableDeletion": True,
        "allowUiUpdates": False,
        "updateIntervalSeconds": 30,
        "options": {"path": "$FORGE_DASHBOARDS", "foldersFromFilesStructure": False},
    }
    return {"apiVersion": 1, "providers": [provider]}


def drifted(root: Path) -> Iterator[str]:
    """Yield the path of every file under `root` that is missing, differs, or is left over from before."""
    wanted = files()
    for path, text in wanted.items():
        file = root / path
        if not file.is_file() or file.read_text(encoding="utf-8") != text:
            yield path
    for path in _present(root):
        if path not in wanted:
            yield path


def write(root: Path) -> None:
    """Write every generated file under `root` and remove what is left over from before."""
    for path in [path for path in _present(root) if path not in files()]:
        (root / path).unlink()
    for path, text in files().items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the files, or with `--check` name those that drifted and return 1."""
    parser = argparse.ArgumentParser(prog="python -m grafana.src.render", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a file has drifted")
    parser.add_argument("--root", type=Path, default=ROOT, help="the repository (default: this one)")
    chosen = parser.parse_args(arguments)
    if not chosen.check:
        write(chosen.root)
        return 0
    stale = list(drifted(chosen.root))
    for path in stale:
        print(f"{path} is not what grafana/src makes: run python -m grafana.src.render", file=sys.stderr)
    return 1 if stale else 0


def _present(root: Path) -> list[str]:
    """Return the generated files that lie under `root`; hand-written neighbours do not carry the mark."""
    dashboards = (root / DASHBOARDS).glob("*.json")
    folders = (root / PROVISIONING, root / RULE_TESTS, (root / RULES).parent)
    marked = (file for folder in folders for file in folder.rglob("*.yaml") if _is_marked(file))
    return [file.relative_to(root).as_posix() for file in (*dashboards, *marked)]


def _is_marked(file: Path) -> bool:
    return file.read_text(encoding="utf-8").startswith(MADE)


def _json(document: Mapping[str, Any]) -> str:
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


class _Dumper(yaml.SafeDumper):
    """Writes every mention of a value in full: no anchors, which readers of rule files do not expect."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _yaml(document: sources.Json) -> str:
    body = yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=110, allow_unicode=True)
    return MADE + body


if __name__ == "__main__":
    sys.exit(main())
