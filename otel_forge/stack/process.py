"""One supervised process: started, awaited until it answers, watched, restarted and stopped."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import io
import os
import signal
import sys
import time
from asyncio.subprocess import Process
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from otel_forge.errors import StackError
from otel_forge.stack import readiness
from otel_forge.stack.logfile import START_MARK, STOP_MARK, RotatingLog
from otel_forge.stack.state import ComponentState

_PR_SET_PDEATHSIG = 1
_LINES_SHOWN = 10
_CHUNKS_KEPT = 32  # of output, a few KiB at most each: enough for the last lines of this run
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


@dataclass(frozen=True)
class ProcessSpec:
    """All that the supervisor must know to run one process."""

    name: str
    argv: list[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: str = ""
    ready: str = ""
    after: list[str] = field(default_factory=list)
    stop_grace: float = 10.0


@dataclass(frozen=True)
class Policy:
    """How patient the supervisor is; times in seconds."""

    ready_timeout: float = 90.0
    first_delay: float = 1.0
    longest_delay: float = 30.0
    stable_after: float = 60.0
    """A process that ran this long has not crashed fast."""
    failed_after: int = 5
    """So many fast crashes in a row mark a component as failed."""
    slow_delay: float = 60.0
    """The pause between tries of a failed one."""
    log_bytes: int = 10_000_000
    log_keep: int = 7

    def delay(self, fast_crashes: int) -> float:
        """Return the pause before the next try: 1, 2, 4 … 30 s, and slowly once it has failed."""
        if fast_crashes >= self.failed_after:
            return self.slow_delay
        doubled = self.first_delay * 2 ** max(0, fast_crashes - 1)
        return float(min(doubled, self.longest_delay))


class NotReady(StackError):
    """A process ended or kept silent before it was ready; the message holds its last log lines."""


class SupervisedProcess:
    """The life of one process under the supervisor; all methods belong to its event loop."""

    def __init__(
        self, spec: ProcessSpec, policy: Policy, log_file: Path, changed: Callable[[], None] = lambda: None
    ) -> None:
        self.spec = spec
        self.policy = policy
        self.state = ComponentState(program=spec.argv[0], ready=spec.ready)
        self._log = RotatingLog(log_file, policy.log_bytes, policy.log_keep)
        self._changed = changed
        self._process: Process | None = None
        self._pump: asyncio.Task[None] | None = None
        self._watch: asyncio.Task[None] | None = None
        self._recent: deque[bytes] = deque(maxlen=_CHUNKS_KEPT)
        self._fast_crashes = 0
        self._launched = 0.0

    async def start(self, *, keep_trying: bool = False) -> None:
        """Start the process and return when it is ready; raise NotReady when it does not come up.

        With `keep_trying` the error is raised all the same, and further tries go on behind it.
        """
        self._fast_crashes = 0
        self._log.mark(START_MARK)
        try:
            await self._launch()
        except NotReady as error:
            await self._end()
            reason = str(error).splitlines()[0]
            self._report("failed", reason)
            if keep_trying:
                self._watch = asyncio.create_task(self._keep_alive(reason))
            raise
        self._watch = asyncio.create_task(self._keep_alive())

    async def stop(self) -> None:
        """End the process: SIGTERM, the grace of its spec, then SIGKILL for all of its session."""
        if self._watch is not None:
            self._watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watch
            self._watch = None
        if self._process is not None and self._process.returncode is None:
            self._report("stopping")
        self._log.mark(STOP_MARK)
        detail = await self._end()
        self._report("stopped", detail)

    async def _keep_alive(self, reason: str = "") -> None:
        """Start the process again whenever it ends, with growing pauses; `reason` tells that it has ended now."""
        while True:
            if self._process is not None:
                reason = _how_it_ended(await self._process.wait())
                await self._end()
            await self._pause_after(reason)
            try:
                await self._launch()
            except NotReady as error:
                await self._end()
                reason = str(error).splitlines()[0]

    async def _pause_after(self, reason: str) -> None:
        fast = time.monotonic() - self._launched < self.policy.stable_after
        self._fast_crashes = self._fast_crashes + 1 if fast else 1
        delay = self.policy.delay(self._fast_crashes)
        failed = self._fast_crashes >= self.policy.failed_after
        crashes = f"{self._fast_crashes} fast crashes; " if failed else ""
        self._report("failed" if failed else "restarting", f"{reason}; {crashes}next try in {delay:g} s")
        await asyncio.sleep(delay)
        self.state.restarts += 1

    async def _launch(self) -> None:
        self._launched = time.monotonic()
        self._recent.clear()
        self._report("starting", self.state.detail)
        try:
            self._process = await self._spawn()
        except OSError as error:
            raise NotReady(f"{self.spec.name} cannot be started: {self.spec.argv[0]}: {error.strerror}") from error
        self._identify(self._process.pid)
        await self._await_ready(self._process)
        self._report("ready")

    async def _spawn(self) -> Process:
        """Start the program, with its output in a pipe of our own.

        One of asyncio's making would delay the news of the end of the process until its last descendant has
        closed the pipe as well.
        """
        read_end, write_end = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *self.spec.argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=write_end,
                stderr=asyncio.subprocess.STDOUT,
                cwd=self.spec.folder or None,
                env={**os.environ, **self.spec.environment},
                start_new_session=True,
                preexec_fn=_end_with(os.getpid()),
            )
        except OSError:
            os.close(read_end)
            raise
        finally:
            os.close(write_end)
        self._pump = asyncio.create_task(self._copy_output(os.fdopen(read_end, "rb", buffering=0)))
        return process

    def _identify(self, pid: int) -> None:
        self.state.pid = pid
        try:
            self.state.create_time = psutil.Process(pid).create_time()
        except psutil.Error:  # it has ended already
            self.state.create_time = 0.0
        self._changed()

    async def _copy_output(self, pipe: io.FileIO) -> None:
        reader = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
        try:
            while chunk := await reader.read(65536):
                self._log.feed(chunk)
                self._recent.append(chunk[-4096:])
        finally:
            transport.close()
            self._log.finish()

    async def _await_ready(self, process: Process) -> None:
        """Return at the first good answer; raise NotReady at the end of the process or of our patience."""
        pause = 0.05
        answer = "no answer"
        deadline = self._launched + self.policy.ready_timeout
        ended = asyncio.ensure_future(process.wait())
        try:
            while time.monotonic() < deadline:
                if ended.done():
                    raise await self._not_ready(_how_it_ended(ended.result()))
                if not self.spec.ready:
                    return
                good, answer = await readiness.ask(self.spec.ready, timeout=2.0)
                if good:
                    return
                await asyncio.wait({ended}, timeout=pause)
                pause = min(pause * 1.5, 0.5)
        finally:
            ended.cancel()
        patience = f"{self.policy.ready_timeout:g} s"
        raise await self._not_ready(f"was not ready within {patience} ({self.spec.ready}: {answer})")

    async def _not_ready(self, what: str) -> NotReady:
        if self._pump is not None:
            await asyncio.wait({self._pump}, timeout=0.5)
        last = b"".join(self._recent).decode("utf-8", "replace").splitlines()[-_LINES_SHOWN:]
        shown = "".join(f"\n    {line}" for line in last) or "\n    (nothing)"
        return NotReady(f"{self.spec.name} {what}. Its last log lines ({self._log.path}):{shown}")

    async def _end(self) -> str:
        """Make sure that nothing of the process is left, and say if that took force."""
        process, self._process = self._process, None
        detail = ""
        if process is not None:
            detail = await self._terminate(process)
        if self._pump is not None:
            await asyncio.wait({self._pump}, timeout=2.0)
            self._pump.cancel()
            self._pump = None
        self._log.finish()
        return detail

    async def _terminate(self, process: Process) -> str:
        detail = ""
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            try:
                await asyncio.wait_for(process.wait(), self.spec.stop_grace)
            except asyncio.TimeoutError:
                # Every server we run has a write-ahead log or a queue on disk, so this is no fault to report.
                detail = f"ended by force after {self.spec.stop_grace:g} s; its data is safe"
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)  # whatever it has started, too
        await process.wait()
        return detail

    def _report(self, status: str, detail: str = "") -> None:
        self.state.status = status
        self.state.detail = detail
        self.state.since = time.time()
        self._changed()


def _end_with(parent: int) -> Callable[[], None]:
    """Return what a child does before it becomes the program: ask to be killed when its parent dies."""

    def ask() -> None:
        if _LIBC is not None:
            _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before we could ask
            os._exit(127)

    return ask


def _how_it_ended(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
