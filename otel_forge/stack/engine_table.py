"""The engines: the native binaries of the stack, what each is built from and which others will do."""

from __future__ import annotations

import re
from dataclasses import dataclass

from otel_forge.errors import EngineUnavailable

Version = tuple[int, int, int]

_COMMON_VERSION = "github.com/prometheus/common/version.Version"


@dataclass(frozen=True)
class Engine:
    """One binary: where its pinned Go module is, how it is built, and which binary on PATH is as good."""

    name: str
    version: str
    """What the module pins; it is stamped into the binary. A test compares it with go.mod."""
    module: str
    """Folder of go.mod and go.sum, relative to the bundle."""
    package: str
    """The Go package of the program."""
    binary: str
    minimums: tuple[Version, ...]
    """A binary on PATH must be of the same major version as one of these, and at least that one."""
    tags: tuple[str, ...] = ()
    version_symbol: str | None = None
    """The Go variable that holds the program's version."""
    path_names: tuple[str, ...] = ()
    """How a binary on PATH may be called."""
    manifest: str | None = None
    """The builder manifest, relative to the bundle, when the program is a generated Collector."""

    @property
    def link_flags(self) -> str:
        """Return the linker's flags: no symbol table, no debug data, and the version stamped in."""
        stamp = f" -X {self.version_symbol}={self.version}" if self.version_symbol else ""
        return f"-s -w{stamp}"

    @property
    def accepted(self) -> str:
        """Return in words which versions on PATH are accepted, such as `3.8.0 or newer, below 4`."""
        return ", or ".join(f"{version_text(least)} or newer, below {least[0] + 1}" for least in self.minimums)

    def accepts(self, version: Version) -> bool:
        """Tell whether a binary on PATH of this version serves as well as our own."""
        return any(version[0] == least[0] and version >= least for least in self.minimums)


_VERSION = re.compile(r"\bversion v?(\d+)\.(\d+)(?:\.(\d+))?")


def parse_version(output: str, names: tuple[str, ...]) -> Version | None:
    """Return the version in what `--version` prints; None when it is not one of the programs `names`.

    All engines print `NAME, version 1.2.3 (branch: …)` or `NAME version 1.2.3` first. The name is compared because
    other programs share it: Debian's `loki`, say, maps genes.
    """
    for line in output.splitlines():
        if found := _VERSION.search(line):
            name = re.split(r"[,\s]", line.strip(), maxsplit=1)[0]
            major, minor, patch = found.groups(default="0")
            return (int(major), int(minor), int(patch)) if name in names else None
    return None


def version_text(version: Version) -> str:
    """Return `3.8.0` for (3, 8, 0)."""
    return ".".join(map(str, version))


ENGINES: tuple[Engine, ...] = (
    Engine(
        name="collector",
        version="0.160.0",
        module="backends/engines/collector",
        package=".",
        binary="otelcol-forge",
        minimums=((0, 160, 0),),
        tags=("grpcnotrace",),
        path_names=("otelcol-forge",),
        manifest="collector/builder.yaml",
    ),
    Engine(
        name="prometheus",
        version="3.16.0",
        module="backends/engines/prometheus",
        package="github.com/prometheus/prometheus/cmd/prometheus",
        binary="prometheus",
        minimums=((3, 8, 0),),
        tags=("netgo", "remove_all_sd"),
        version_symbol=_COMMON_VERSION,
        path_names=("prometheus",),
    ),
    Engine(
        name="promtool",
        version="3.16.0",
        module="backends/engines/prometheus",
        package="github.com/prometheus/prometheus/cmd/promtool",
        binary="promtool",
        minimums=((3, 8, 0),),
        tags=("netgo", "remove_all_sd"),
        version_symbol=_COMMON_VERSION,
        path_names=("promtool",),
    ),
    Engine(
        name="alertmanager",
        version="0.31.1",
        module="backends/engines/alertmanager",
        package="github.com/prometheus/alertmanager/cmd/alertmanager",
        binary="alertmanager",
        minimums=((0, 25, 0),),
        tags=("netgo",),
        version_symbol=_COMMON_VERSION,
        path_names=("alertmanager", "prometheus-alertmanager"),
    ),
    Engine(
        name="amtool",
        version="0.31.1",
        module="backends/engines/alertmanager",
        package="github.com/prometheus/alertmanager/cmd/amtool",
        binary="amtool",
        minimums=((0, 25, 0),),
        tags=("netgo",),
        version_symbol=_COMMON_VERSION,
        path_names=("amtool",),
    ),
    Engine(
        name="tempo",
        version="2.2.0-dev",
        module="backends/engines/tempo",
        package=".",
        binary="tempo",
        minimums=((2, 2, 0), (3, 0, 0)),
        # purego: the assembly of its parquet library reaches into the runtime, which Go's linker no longer allows.
        tags=("netgo", "purego"),
        version_symbol="github.com/grafana/tempo/cmd/tempo/build.Version",
        path_names=("tempo",),
    ),
    Engine(
        name="loki",
        version="3.7.8",
        module="backends/engines/loki",
        package="github.com/grafana/loki/v3/cmd/loki",
        binary="loki",
        minimums=((3, 6, 0),),
        tags=("netgo",),
        version_symbol="github.com/grafana/loki/v3/pkg/util/build.Version",
        path_names=("loki",),
    ),
)

ENGINE_NAMES: tuple[str, ...] = tuple(engine.name for engine in ENGINES)


def engine_named(name: str) -> Engine:
    """Return the engine of this name; raises EngineUnavailable with the names there are."""
    for engine in ENGINES:
        if engine.name == name:
            return engine
    raise EngineUnavailable(f"There is no engine {name!r}; there are {', '.join(ENGINE_NAMES)}.")
