"""What the stack's commands print: plain text that reads the same on a terminal and in a file."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict

from otel_forge.delivery.status import ServiceStatus
from otel_forge.stack.backend import RUNNING, STOPPED, StackStatus

NEXT_COMMAND = "opentelemetry-instrument python app.py"

# For any app; the Collector's own telemetry is in the stores, too.
QUERIES = (
    (
        "Prometheus",
        "/api/v1/query",
        "query",
        "sum by (service_name, http_route) (rate(http_server_request_duration_seconds_count[5m]))",
    ),
    ("Loki", "/loki/api/v1/query_range", "query", '{service_name=~".+", service_name!="otelcol-forge"}'),
    ("Tempo", "/api/search", "q", '{resource.service.name != "otelcol-forge"}'),
)


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the rows as lines with their columns aligned."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))] if rows else []
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def addresses_text(status: StackStatus) -> list[str]:
    """Return where everything is, as lines of a small table."""
    rows = [
        [f"  {title}", f"{address} (API)" if title in status.api_only else address]
        for title, address in status.addresses.items()
    ]
    if status.password_file and "Grafana" in status.addresses:
        rows.append(["    user admin", f"password in {status.password_file}"])
    return table(rows)


def up_text(status: StackStatus) -> list[str]:
    """Return what `up` ends with: the addresses, what is missing, and the one command to run next."""
    lines = [f"The stack was already running (engine {status.engine})." if status.already_running else ""]
    lines = lines if status.already_running else [f"The stack is up (engine {status.engine})."]
    lines += [_not_ready_line(status)] if status.status != RUNNING else []
    lines += ["", *addresses_text(status), ""]
    lines += [line for note in status.notes for line in (note, "")]
    lines += queries_text(status)
    next_command = NEXT_COMMAND
    if moved := moved_endpoint(status):
        next_command = f"OTEL_EXPORTER_OTLP_ENDPOINT={moved} {NEXT_COMMAND}"
    run_next = (
        "Run next, in the folder of your app (`otel-forge run` instead of `opentelemetry-instrument` starts faster):"
    )
    return [*lines, run_next, f"  {next_command}"]


def queries_text(status: StackStatus) -> list[str]:
    """Return one query for each store, to paste into a shell, where no Grafana shows what arrives."""
    if "Grafana" in status.addresses or not {"Prometheus", "Loki", "Tempo"} <= status.addresses.keys():
        return []
    lines = ["See what your app has sent (requests by route, log lines, traces):"]
    for title, path, name, query in QUERIES:
        lines.append(f"  curl -sG {status.addresses[title]}{path} --data-urlencode '{name}={query}'")
    return [*lines, ""]


def moved_endpoint(status: StackStatus) -> str:
    """Return the OTLP address when it is not the one that every SDK tries by itself."""
    address = status.addresses.get("OTLP over HTTP", "")
    return "" if address.endswith(":4318") else address


def _not_ready_line(status: StackStatus) -> str:
    waiting = [component.name for component in status.components if not component.is_ready]
    return f"Not everything is ready: {', '.join(waiting)}. See `otel-forge status` and `otel-forge logs`."


def status_text(status: StackStatus, now: float | None = None) -> list[str]:
    """Return what `status` prints."""
    if status.status == STOPPED:
        detail = f": {status.detail}" if status.detail else ""
        return [f"The stack is not running (engine {status.engine}){detail}."]
    rows = [["component", "status", "since", "restarts", "pid", "detail"]]
    moment = time.time() if now is None else now
    for component in status.components:
        rows.append(
            [
                component.name,
                component.status,
                age(moment - component.since) if component.since else "-",
                str(component.restarts),
                str(component.pid or "-"),
                component.detail,
            ]
        )
    return [f"The stack is {status.status} (engine {status.engine}).", "", *table(rows), "", *addresses_text(status)]


def status_json(status: StackStatus, services: Sequence[ServiceStatus] = ()) -> str:
    """Return the status for machines."""
    return json.dumps({**asdict(status), "services": [asdict(service) for service in services]}, indent=2)


def age(seconds: float) -> str:
    """Return a duration in its two largest units, such as `3h 5m`."""
    whole = max(0, int(seconds))
    days, rest = divmod(whole, 86400)
    hours, rest = divmod(rest, 3600)
    minutes, rest = divmod(rest, 60)
    parts = [f"{value}{unit}" for value, unit in ((days, "d"), (hours, "h"), (minutes, "m"), (rest, "s")) if value]
    return " ".join(parts[:2]) or "0s"
