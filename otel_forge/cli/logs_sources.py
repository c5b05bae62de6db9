"""What `otel-forge logs` shows: the log files of services, the stack's components, and which of them are meant."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

from otel_forge.errors import ForgeError
from otel_forge.logs.files.entries import Entry, Selection
from otel_forge.logs.files.names import stem_of
from otel_forge.logs.files.sources import services_in
from otel_forge.stack.backend import Backend
from otel_forge.stack.choice import last_engine
from otel_forge.stack.components import NAMES
from otel_forge.stack.settings import StackSettings
from otel_forge.stack.state import StateFolder

DEFAULT_FOLDER = "logs"
_WHOLE_PAST = 10_000_000


def folder_for(asked: Path | None, environ: Mapping[str, str]) -> Path:
    """Return the whole path of the folder of log files: what is asked for, else LOG_DIR, else ./logs."""
    return (asked or Path(environ.get("LOG_DIR", "").strip() or DEFAULT_FOLDER)).expanduser().absolute()


@dataclass(frozen=True)
class Chosen:
    """Whose logs are meant."""

    folder: Path
    services: list[str]
    components: list[str]


def choose(names: Sequence[str], asked: Path | None, settings: StackSettings, environ: Mapping[str, str]) -> Chosen:
    """Return which services and which components the names mean; a name that both have means both.

    Without names it is all there are, of a folder that is asked for only its services. Raises ForgeError for a name
    that is neither.
    """
    folder = folder_for(asked, environ)
    services = _services(folder)
    if names:
        _check(names, folder, services)
        named = dict.fromkeys(stem_of(name) for name in names if stem_of(name) in services)
        return Chosen(folder, list(named), list(dict.fromkeys(name for name in names if name in NAMES)))
    components = [] if asked is not None else components_with_logs(settings)
    if not services and not components:
        stack = "" if asked is not None else ", and the stack has logged nothing; has it been started?"
        raise ForgeError(f"There are no log files in {folder}{stack or '.'}")
    return Chosen(folder, services, components)


def existing_services(names: Sequence[str], folder: Path) -> list[str]:
    """Return the services that the names mean; raise ForgeError for one that has no log files."""
    services = _services(folder)
    for name in names:
        if stem_of(name) not in services:
            raise ForgeError(f"{name} has no log files in {folder} ({_there(services)}).")
    return list(dict.fromkeys(map(stem_of, names)))


def _services(folder: Path) -> list[str]:
    try:
        return services_in(folder)
    except OSError as error:
        raise ForgeError(f"{folder} cannot be read ({error.strerror}).") from error


def _check(names: Sequence[str], folder: Path, services: Sequence[str]) -> None:
    unknown = [name for name in names if stem_of(name) not in services and name not in NAMES]
    if unknown:
        raise ForgeError(
            f"{', '.join(unknown)} has no log files in {folder} ({_there(services)}; --dir or LOG_DIR names another "
            f"folder), nor is it a component of the stack: {', '.join(NAMES)}."
        )


def _there(services: Sequence[str]) -> str:
    return f"there are {', '.join(services)}" if services else "there are none of any service"


def components_with_logs(settings: StackSettings) -> list[str]:
    """Return the components of the stack of these settings that have said anything yet, as far as is known."""
    folder = StateFolder(settings.state_dir)
    if last_engine(settings) == "docker":
        return list(NAMES)
    return [path.stem for path in sorted(folder.logs.glob("*.log"))]


class StackLogs:
    """The logs of the stack's components, as its engine tells them."""

    def __init__(
        self,
        backend: Backend,
        components: Sequence[str],
        wanted: Selection,
        *,
        follow: bool,
        say: Callable[[str], None],
    ) -> None:
        self._backend = backend
        self._say = say
        self._components = components
        self._wanted = wanted
        self._queue: SimpleQueue[Entry] = SimpleQueue()
        self._listener = threading.Thread(target=self._listen, name="otel-forge stack logs", daemon=True)
        if follow:
            self._listener.start()

    def past(self, lines: int | None) -> list[Entry]:
        """Return the last entries of each component that are wanted, all for None."""
        asked = _WHOLE_PAST if lines is None or self._wanted.is_narrowed else lines
        found = list(self._entries(self._read(asked, follow=False)))
        return found if lines is None else _last_of_each(found, lines)

    def new(self) -> list[Entry]:
        """Return the wanted entries that have come since the last call."""
        return [self._queue.get() for _ in range(self._queue.qsize())]

    def wait(self, timeout: float) -> None:
        """Wait until the engine has nothing more to say."""
        self._listener.join(timeout)

    def _read(self, lines: int, *, follow: bool) -> Iterator[str]:
        return self._backend.logs(self._components, lines=lines, follow=follow, errors=self._wanted.errors)

    def _entries(self, lines: Iterator[str]) -> Iterator[Entry]:
        for line in lines:
            source, text = self._parted(line)
            if self._wanted.keeps(text.encode("utf-8", "replace")):
                yield Entry(source, text)

    def _parted(self, line: str) -> tuple[str, str]:
        """Return the component's name and what it said; engines put the name in front where there are several."""
        if len(self._components) == 1:
            return self._components[0], line
        name, bar, text = line.partition("| ")
        if not bar:
            return "stack", line
        return next((known for known in self._components if known in name), name.strip()), text  # Docker: loki-1

    def _listen(self) -> None:
        try:
            for entry in self._entries(self._read(0, follow=True)):
                self._queue.put(entry)
        except ForgeError as error:
            self._say(str(error))


def _last_of_each(entries: Sequence[Entry], lines: int) -> list[Entry]:
    left: dict[str, int] = {}
    kept = []
    for entry in reversed(entries):
        left[entry.source] = left.get(entry.source, lines) - 1
        if left[entry.source] >= 0:
            kept.append(entry)
    return kept[::-1]
