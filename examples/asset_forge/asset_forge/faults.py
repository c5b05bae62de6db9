"""Faults that can be switched on while a service runs: latency, errors, and not answering at all.

The switch lives in a file where several worker processes share one service, and in memory otherwise. Each
process draws from a generator of its own that starts over, from the seed, whenever the faults change.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import os
import random
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from http import HTTPStatus
from pathlib import Path

from flask import Flask, Response, jsonify, request
from flask.typing import ResponseReturnValue

logger = logging.getLogger(__name__)

MAX_LATENCY_MS = 30_000
MAX_HANG_S = 30.0
MAX_HANGING = 16  # fewer than the threads of a worker, so that the control route always has one
HANG_POLL_S = 0.05


class InvalidFaults(ValueError):
    """A fault setting cannot be used; the message names it and what is allowed."""


@dataclass(frozen=True)
class Faults:
    """How a service misbehaves; the default is: not at all.

    latency_ms: added to every answer. error_rate: share of answers, 0 to 1, that are an error with
    ``status``. hang: no request is answered until the fault is cleared, at most 30 s. seed: of the draws.
    """

    latency_ms: int = 0
    error_rate: float = 0.0
    hang: bool = False
    status: int = 500
    seed: int = 0

    @classmethod
    def from_json(cls, body: object) -> Faults:
        """Read faults from a JSON object; raises InvalidFaults for a bad value or an unknown name."""
        if not isinstance(body, dict):
            raise InvalidFaults("The faults must be a JSON object.")
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(map(str, body)) - known):
            raise InvalidFaults(f"There is no fault {unknown[0]!r}; there are {', '.join(sorted(known))}.")
        faults = cls(**body)
        if type(faults.latency_ms) is not int or not 0 <= faults.latency_ms <= MAX_LATENCY_MS:
            raise InvalidFaults(f"latency_ms must be a whole number from 0 to {MAX_LATENCY_MS}.")
        if type(faults.error_rate) not in (int, float) or not 0 <= faults.error_rate <= 1:
            raise InvalidFaults("error_rate must be a number from 0 to 1.")
        if type(faults.hang) is not bool:
            raise InvalidFaults("hang must be true or false.")
        if type(faults.status) is not int or not 400 <= faults.status <= 599:
            raise InvalidFaults("status must be a whole number from 400 to 599.")
        if type(faults.seed) is not int:
            raise InvalidFaults("seed must be a whole number.")
        return faults

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Faults:
        """Read the faults that a service starts with from FAULTS, a JSON object."""
        text = environ.get("FAULTS", "").strip()
        if not text:
            return cls()
        try:
            return cls.from_json(json.loads(text))
        except (json.JSONDecodeError, InvalidFaults) as error:
            raise InvalidFaults(f"FAULTS={text!r} cannot be used: {error}") from error


class FaultSwitch:
    """Holds the faults of one service; thread-safe, and shared between processes when given a file."""

    def __init__(self, initial: Faults, file: Path | None = None) -> None:
        """Start with the initial faults, or with what the file says if another worker wrote it already."""
        self._lock = threading.Lock()
        self._file = file
        self._faults = initial
        self._random = random.Random(initial.seed)
        self._stamp: tuple[int, int] | None = None
        if file is not None and initial != Faults() and not file.exists():
            self.set(initial)

    def get(self) -> Faults:
        """Return the faults in force."""
        with self._lock:
            self._refresh()
            return self._faults

    def set(self, faults: Faults) -> None:
        """Put other faults in force, in every process, and start the draws over."""
        with self._lock:
            if self._file is not None:
                _write_whole(self._file, json.dumps(asdict(faults)))
                self._stamp = _stamp(self._file)
            self._adopt(faults)

    def draw(self) -> bool:
        """Decide whether the next answer is an error."""
        with self._lock:
            self._refresh()
            return self._random.random() < self._faults.error_rate

    def _refresh(self) -> None:
        if self._file is None or (stamp := _stamp(self._file)) == self._stamp:
            return
        self._stamp = stamp
        try:
            self._adopt(Faults.from_json(json.loads(self._file.read_text())))
        except (OSError, ValueError):
            logger.warning("the fault file cannot be read; no faults are in force", exc_info=True)
            self._adopt(Faults())

    def _adopt(self, faults: Faults) -> None:
        self._faults = faults
        self._random = random.Random(faults.seed)


def install(app: Flask, switch: FaultSwitch) -> None:
    """Let every route of an application suffer the faults, and add the control route ``/faults``.

    The control route answers callers on this machine only, and never suffers faults itself.
    """
    hanging = threading.BoundedSemaphore(MAX_HANGING)
    app.before_request(lambda: _suffer(switch, hanging))

    @app.route("/faults", methods=["GET", "PUT", "DELETE"])
    def faults() -> ResponseReturnValue:
        if not is_loopback(request.remote_addr or ""):
            return jsonify(error="Faults can be set from this machine only."), HTTPStatus.FORBIDDEN
        if request.method != "GET":
            try:
                new = Faults() if request.method == "DELETE" else Faults.from_json(request.get_json(silent=True))
            except InvalidFaults as error:
                return jsonify(error=str(error)), HTTPStatus.BAD_REQUEST
            switch.set(new)
            logger.warning("faults set: %s", new)
        return jsonify(asdict(switch.get()))


def is_loopback(address: str) -> bool:
    """Tell whether an IP address is one of this machine's own."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _suffer(switch: FaultSwitch, hanging: threading.Semaphore) -> Response | None:
    if request.path == "/faults":
        return None
    faults = switch.get()
    if faults.latency_ms:
        time.sleep(faults.latency_ms / 1000)
    if faults.hang and not _hang(switch, hanging):
        return _error(503)
    if faults.error_rate and switch.draw():
        logger.error("injected fault: answering %d", faults.status)
        return _error(faults.status)
    return None


def _hang(switch: FaultSwitch, hanging: threading.Semaphore) -> bool:
    """Wait until the fault is cleared; returns False when that takes too long or too many wait already."""
    if not hanging.acquire(blocking=False):
        return False
    try:
        return _wait_until_cleared(switch)
    finally:
        hanging.release()


def _wait_until_cleared(switch: FaultSwitch) -> bool:
    deadline = time.monotonic() + MAX_HANG_S
    while switch.get().hang:
        if time.monotonic() > deadline:
            return False
        time.sleep(HANG_POLL_S)
    return True


def _error(status: int) -> Response:
    response = jsonify(error="An injected fault.", status=status)
    response.status_code = status
    return response


def _stamp(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns


def _write_whole(file: Path, text: str) -> None:
    """Replace a file at once, so that no reader sees half of it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=file.name)
    with os.fdopen(handle, "w") as stream:
        stream.write(text)
    Path(temporary).replace(file)
