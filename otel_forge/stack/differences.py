"""Compares what a command is asked for with what the running stack was started with.

Ports, retention and the alerting lane are fixed when a component starts. A changed setting that is
silently not used looks like one that is, so `up` and `restart` refuse it and say what to do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from otel_forge.errors import StackError
from otel_forge.stack.ports import PORTS
from otel_forge.stack.settings import StackSettings
from otel_forge.stack.state import StackState

LANE_SETTING = "OTEL_FORGE_ALERTING"


@dataclass(frozen=True)
class Difference:
    """One setting that the running stack does not have."""

    setting: str
    asked: str
    running: str

    def __str__(self) -> str:
        """Say what is asked for and what is there."""
        verb = "runs on" if self.setting.startswith("OTEL_FORGE_PORT_") else "runs with"
        return f"{self.setting}={self.asked} (it {verb} {self.running})"


def default_lane(components: Mapping[str, object]) -> str:
    """Return the lane that notifies where no setting says so: Grafana's, if it runs."""
    return "grafana" if "grafana" in components else "prometheus"


def differences(settings: StackSettings, state: StackState) -> list[Difference]:
    """Return every setting in which the running stack is not what is asked for.

    What the state does not tell, because an older release wrote it, counts as the same.
    """
    asked = settings.port_variables() | dict(settings.retention)
    running = {port.setting: str(state.ports[port.key]) for port in PORTS if port.key in state.ports}
    running |= state.retention
    if state.lane:
        asked[LANE_SETTING] = settings.alerting or default_lane(state.components)
        running[LANE_SETTING] = state.lane
    if settings.config_dir:
        asked["OTEL_FORGE_CONFIG_DIR"] = str(settings.config_dir)
        running["OTEL_FORGE_CONFIG_DIR"] = state.config
    return [
        Difference(name, value, running[name])
        for name, value in asked.items()
        if name in running and running[name] != value
    ]


def refuse(found: list[Difference], remedy: str) -> None:
    """Raise StackError naming the differences and what to do about them; return when there are none."""
    if found:
        listed = ", ".join(map(str, found))
        raise StackError(f"The stack is already running, but not with what is asked for: {listed}. {remedy}")


def check_restart(settings: StackSettings, environ: Mapping[str, str], state: StackState, remedy: str) -> list[str]:
    """Raise StackError for a setting that a restart would not apply; return those it leaves as they are.

    Only what the environment says counts as asked for: a shell that does not have the settings of the
    first `up` must be able to restart a component.
    """
    found = differences(settings, state)
    said = {name for name, value in environ.items() if value.strip()}
    refuse([difference for difference in found if difference.setting in said], remedy)
    return [f"{difference.setting}={difference.running}" for difference in found]
