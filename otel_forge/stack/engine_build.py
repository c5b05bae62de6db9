"""Builds an engine from its pinned Go module into the cache, and says meanwhile how far it is.

A built engine lives in `<cache>/engines/<name>-<hash>/<binary>`. The hash covers everything that goes into the binary,
so an engine that is there is the right one, and a changed pin, flag or Go release makes a new one beside it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import queue
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from otel_forge.errors import EngineUnavailable
from otel_forge.stack.engine_progress import BuildProgress, Step
from otel_forge.stack.engine_table import Engine

Report = Callable[[BuildProgress], None]

OLDEST_GO = (1, 21)  # the first that fetches a newer toolchain by itself when a module asks for one
BUILDER = "go.opentelemetry.io/collector/cmd/builder"
GENERATED = "generated"  # the manifest's dist.output_path
LAST_LINES = 15

# What go list says of a package that the build cache already holds.
_CACHED = "not installed but available in build cache"
# What of the user's environment decides neither how nor for which machine we build; the rest (GOPROXY, …) is theirs.
_OURS = ("GOOS", "GOARCH", "GOEXPERIMENT", "GOBIN")


@dataclass(frozen=True)
class Toolchain:
    """The Go that builds: its path, its release, and the kind of machine it builds for."""

    go: Path
    release: str  # such as 1.26.8
    system: str  # such as linux/amd64

    @property
    def minor(self) -> str:
        """Return the release without the patch number, such as 1.26."""
        return ".".join(self.release.split(".")[:2])


def build_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for the go command: what changes the result is fixed, where modules come from is not."""
    kept = {name: value for name, value in environ.items() if name not in _OURS}
    return {
        **kept,
        "CGO_ENABLED": "0",
        "GO111MODULE": "on",
        "GOFLAGS": "-buildvcs=false -mod=readonly",
        "GOTOOLCHAIN": "auto",
        "GOWORK": "off",
    }


def find_toolchain(module: Path, environ: Mapping[str, str]) -> Toolchain | None:
    """Return the Go that a module is built with, which may be one newer than that on PATH; None without Go."""
    found = shutil.which("go", path=environ.get("PATH", ""))
    if found is None:
        return None
    asked = subprocess.run(
        [found, "env", "GOVERSION", "GOHOSTOS", "GOHOSTARCH"],
        cwd=module,
        env=build_environment(environ),
        capture_output=True,
        text=True,
        check=False,
    )
    words = asked.stdout.split()
    if asked.returncode or len(words) < 3:
        raise EngineUnavailable(f"{found} does not say which Go it is: {asked.stderr.strip() or asked.stdout.strip()}")
    release = words[0].removeprefix("go")
    numbers = re.match(r"(\d+)\.(\d+)", release)
    if numbers is None or (int(numbers[1]), int(numbers[2])) < OLDEST_GO:
        raise EngineUnavailable(f"{found} is Go {release}, too old to build the engines. Install Go 1.26 or newer.")
    return Toolchain(go=Path(found), release=release, system="/".join(words[-2:]))


def content_hash(engine: Engine, root: Path, toolchain: Toolchain) -> str:
    """Return 16 hexadecimal digits that change whenever anything that goes into the binary changes."""
    digest = hashlib.sha256()
    recipe = (engine.package, ",".join(engine.tags), engine.link_flags, toolchain.minor, toolchain.system)
    for text in (*recipe, *build_environment({}).values()):
        digest.update(text.encode() + b"\0")
    for path in _inputs(engine, root):
        digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def _inputs(engine: Engine, root: Path) -> list[Path]:
    module = root / engine.module
    files = sorted(path for path in module.iterdir() if path.name in ("go.mod", "go.sum") or path.suffix == ".go")
    return [*files, root / engine.manifest] if engine.manifest else files


def cached_binary(engine: Engine, root: Path, cache: Path, toolchain: Toolchain) -> Path:
    """Return where an engine is in the cache, or would be."""
    return cache / "engines" / f"{engine.name}-{content_hash(engine, root, toolchain)}" / engine.binary


def build(
    engine: Engine, *, root: Path, cache: Path, toolchain: Toolchain, environ: Mapping[str, str], report: Report
) -> Path:
    """Return the engine from the cache, building it first when it is not there.

    One process builds an engine at a time; others wait for it. A build that fails leaves nothing but its log.
    """
    target = cached_binary(engine, root, cache, toolchain)
    if target.is_file():
        return target
    target.parent.parent.mkdir(parents=True, exist_ok=True)
    job = _Job(engine, root, target, toolchain, environ, report)
    with _lock(target.parent.with_suffix(".lock"), lambda: job.tell("waiting")):
        if not target.is_file():
            job.run()
    job.tell("ready")
    return target


@contextlib.contextmanager
def _lock(path: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold a lock file for the body; the system frees it when its holder dies, however that happens."""
    with path.open("a") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                waiting()
                time.sleep(0.5)
        yield


class _Job:
    """One build: its folders, its log and its clock."""

    def __init__(
        self, engine: Engine, root: Path, target: Path, toolchain: Toolchain, environ: Mapping[str, str], report: Report
    ) -> None:
        self._engine = engine
        self._module = root / engine.module
        self._manifest = root / engine.manifest if engine.manifest else None
        self._target = target
        self._work = target.parent.with_suffix(".partial")
        self._log = target.parent.parent / "logs" / f"{target.parent.name}.log"
        self._go = str(toolchain.go)
        self._environ = build_environment(environ)
        self._report = report
        self._progress = BuildProgress(engine.name, engine.version, "fetching")
        self._started = time.monotonic()

    def tell(self, step: Step, *, done: int = 0, total: int = 0, compiling_for: float = 0.0) -> None:
        """Report where the build is now."""
        elapsed = time.monotonic() - self._started
        self._report(
            replace(self._progress, step=step, elapsed=elapsed, done=done, total=total, compiling_for=compiling_for)
        )

    def run(self) -> None:
        """Fetch, compile and link in a folder of its own, then move the result into place in one step."""
        shutil.rmtree(self._work, ignore_errors=True)  # what a killed builder left; the lock says nobody uses it
        self._work.mkdir()
        self._log.parent.mkdir(exist_ok=True)
        self._log.unlink(missing_ok=True)
        try:
            module = self._generate(self._manifest) if self._manifest else self._module
            result = self._work / "result"
            result.mkdir()
            self._compile(module, result / self._engine.binary, self._count_stale(module))
            shutil.rmtree(self._target.parent, ignore_errors=True)
            result.rename(self._target.parent)
        finally:
            shutil.rmtree(self._work, ignore_errors=True)

    def _generate(self, manifest: Path) -> Path:
        """Write the Collector's main package from the manifest; what it depends on say our own go.mod and go.sum."""
        builder = self._work / "builder"
        self._fetch([self._go, "build", "-v", "-trimpath", "-o", str(builder), BUILDER], self._module)
        self._fetch([str(builder), f"--config={manifest}", "--skip-get-modules", "--skip-compilation"], self._work)
        generated = self._work / GENERATED
        for name in ("go.mod", "go.sum"):
            shutil.copy(self._module / name, generated / name)
        return generated

    def _count_stale(self, module: Path) -> int:
        """Fetch the modules, and return how many packages the build cache does not hold yet."""
        form = "{{if .Stale}}stale\t{{.StaleReason}}{{end}}"
        lines = self._fetch([self._go, "list", "-deps", *self._flags(), "-f", form, self._engine.package], module)
        return sum(line.startswith("stale\t") and not line.endswith(_CACHED) for line in lines)

    def _fetch(self, command: list[str], folder: Path) -> list[str]:
        """Run a command whose progress is the modules it downloads."""
        fetched = 0

        def read(line: str | None) -> None:
            nonlocal fetched
            fetched += line is not None and line.startswith("go: downloading ")
            self.tell("fetching", done=fetched)

        return self._call("fetching", command, folder, read)

    def _compile(self, module: Path, output: Path, total: int) -> None:
        """Run `go build`, whose progress is the packages it names as it comes to them."""
        done, began = 0, time.monotonic()

        def read(line: str | None) -> None:
            nonlocal done
            done += line is not None and is_package(line)
            step: Step = "compiling" if done < total else "linking"
            self.tell(step, done=done, total=max(done, total), compiling_for=time.monotonic() - began)

        flags = ["-v", *self._flags(), "-o", str(output)]
        self._call("compiling", [self._go, "build", *flags, self._engine.package], module, read)

    def _flags(self) -> list[str]:
        return ["-trimpath", "-tags", ",".join(self._engine.tags), "-ldflags", self._engine.link_flags]

    def _call(self, step: Step, command: list[str], folder: Path, read: Callable[[str | None], None]) -> list[str]:
        """Return the lines a command prints; `read` sees each as it comes, and None once a second when none comes."""
        read(None)
        printed: list[str] = []
        with self._log.open("a", encoding="utf-8") as log:
            log.write(f"$ {' '.join(command)}\n")
            with _started(command, folder, self._environ) as (process, lines):
                for line in lines:
                    read(line)
                    if line is not None:
                        printed.append(line)
                        log.write(line + "\n")
        if process.returncode:
            raise EngineUnavailable(self._failure(step, process.returncode, printed))
        return printed

    def _failure(self, step: Step, code: int, printed: list[str]) -> str:
        said = [line for line in printed if not is_package(line)] or ["(nothing was printed)"]
        return "\n".join(
            (
                f"{self._engine.name} {self._engine.version} could not be built: {step} ended with exit status {code}.",
                *(f"    {line}" for line in said[-LAST_LINES:]),
                f"The whole log is {self._log}. Docker needs no build: use --engine docker.",
            )
        )


def is_package(line: str) -> bool:
    """Tell whether a line of `go build -v` names a package, and is no message."""
    return re.fullmatch(r"[\w.~+-]+(/[\w.~+-]+)*", line) is not None


@contextlib.contextmanager
def _started(
    command: list[str], folder: Path, environ: Mapping[str, str]
) -> Iterator[tuple[subprocess.Popen[str], Iterator[str | None]]]:
    """Start a command for the body, and stop it when the body ends before it does."""
    with subprocess.Popen(
        command,
        cwd=folder,
        env=dict(environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
    ) as process:
        try:
            yield process, _lines(process)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)  # go then stops its compilers too


def _lines(process: subprocess.Popen[str]) -> Iterator[str | None]:
    """Yield the lines a process prints until it ends, and None after each second without one."""
    arrived: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def read() -> None:
        for line in process.stdout or ():
            arrived.put(line.rstrip("\n"))
        arrived.put(None)

    threading.Thread(target=read, name="engine-build-output", daemon=True).start()
    while True:
        try:
            line = arrived.get(timeout=1.0)
        except queue.Empty:
            yield None
            continue
        if line is None:
            process.wait()
            return
        yield line
