"""A native stack with small servers in the binaries' place: all is real but what the servers do."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from otel_forge.stack import ports
from otel_forge.stack.engine_table import engine_named
from otel_forge.stack.native import NativeBackend
from otel_forge.stack.settings import StackSettings
from tests.stack.bench import SERVER, free_port

# Each stand-in answers every path on the port that its component is ready on; the command line or the
# environment must have told it, so a missing flag or variable fails the start.
STAND_IN = """#!{python} -ES
import json, os, re, sys
name = {name!r}
if "--version" in sys.argv:
    print(f"{{name}}, version {version} (branch: )")
    sys.exit(0)
place = json.dumps([sys.argv, dict(os.environ)])
open(os.path.join({home!r}, name + ".started"), "w").write(place)
flag = re.search(r"listen-address=127.0.0.1:(\\d+)", " ".join(sys.argv))
port = flag.group(1) if flag else os.environ[{variable!r}]
os.execv(sys.executable, [sys.executable, "-ES", {server!r}, "--home", {home!r}, "--name", name, "--port", port])
"""
PORT_VARIABLES = {
    "loki": "OTEL_FORGE_PORT_LOKI",
    "tempo": "OTEL_FORGE_PORT_TEMPO",
    "collector": "OTEL_FORGE_PORT_COLLECTOR_HEALTH",
    "grafana": "GF_SERVER_HTTP_PORT",
}


class World:
    """A state folder, free ports and stand-ins for the binaries."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.path_folder = home / "bin"
        self.path_folder.mkdir()
        self.environ = {
            "PATH": str(self.path_folder),
            "HOME": str(home),
            "OTEL_FORGE_STATE_DIR": str(home / "state"),
            **{port.setting: str(free_port()) for port in ports.PORTS},
        }
        self.asked: list[str] = []
        self.said: list[str] = []
        self.tempo_version = "3.0.3"

    def stand_in(self, name: str, path: Path | None = None) -> Path:
        """Write one stand-in and return its path."""
        path = path or self.home / name
        version = self.tempo_version if name == "tempo" else "1.0.0"
        text = STAND_IN.format(
            python=sys.executable,
            name=name,
            version=version,
            home=str(self.home),
            server=str(SERVER),
            variable=PORT_VARIABLES.get(name, ""),
        )
        path.write_text(text)
        path.chmod(0o755)
        return path

    def find_programs(self, names: Sequence[str]) -> Mapping[str, Path]:
        """Take the engines' place."""
        self.asked += names
        return {name: self.stand_in(name) for name in names}

    def backend(self, **environ: str) -> NativeBackend:
        """Return the backend for the settings so far and these."""
        self.environ.update(environ)
        settings = StackSettings.from_env(self.environ)
        return NativeBackend(settings, self.environ, self.find_programs, self.said.append)

    def started(self, name: str) -> tuple[list[str], dict[str, str]]:
        """Return the command line and the environment that a component got."""
        arguments, environment = json.loads((self.home / f"{name}.started").read_text())
        return arguments[1:], environment

    def port(self, key: str) -> str:
        """Return the number of a port."""
        return self.environ["OTEL_FORGE_PORT_" + key]

    def install_engines(self) -> None:
        """Put stand-ins on PATH that the engines' own search accepts."""
        for name in ("alertmanager", "prometheus", "loki", "tempo", "collector"):
            engine = engine_named(name)
            path = self.stand_in(name, self.path_folder / engine.binary)
            version = f"{engine.binary}, version {engine.version} (branch: )"
            text = re.sub(r'print\(f?".*version .*"\)', f"print({version!r})", path.read_text())
            path.write_text(text)

    def install_grafana(self) -> None:
        """Put a Grafana on PATH, in a folder like that of its archive."""
        home = self.home / "grafana-home"
        (home / "bin").mkdir(parents=True)
        (home / "conf").mkdir()
        (home / "conf" / "defaults.ini").touch()
        self.stand_in("grafana", home / "bin" / "grafana")
        (self.path_folder / "grafana").symlink_to(home / "bin" / "grafana")
