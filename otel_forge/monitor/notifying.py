"""What systemd is told (sd_notify(3)): a datagram to the socket that it names in ``NOTIFY_SOCKET``."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
"""What is meant for the monitor alone, and hidden from the app."""


class ServiceManager:
    """The service manager that started us, if one did and wants to be told."""

    def __init__(self, environ: Mapping[str, str], pid: int | None = None) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        own = environ.get("WATCHDOG_PID", "") in ("", str(os.getpid() if pid is None else pid))
        microseconds = environ.get("WATCHDOG_USEC", "")
        self.watchdog = int(microseconds) / 1e6 / 2 if own and microseconds.isdecimal() else None
        """Seconds between two signs of life that it wants, half of what it allows; None if it wants none."""

    def ready(self, status: str) -> None:
        """Say that the app runs."""
        self._send("READY=1", f"STATUS={status}")

    def alive(self) -> None:
        """Say that the monitor lives."""
        self._send("WATCHDOG=1")

    def status(self, text: str) -> None:
        """Say in one line how things are; `systemctl status` shows it."""
        self._send(f"STATUS={text}")

    def stopping(self) -> None:
        """Say that the end has begun."""
        self._send("STOPPING=1")

    def _send(self, *lines: str) -> None:
        """Send a message; a manager that cannot be reached is no reason to do anything else."""
        if not self._address:
            return
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        message = "\n".join(line.replace("\n", " ") for line in lines).encode()
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.settimeout(1.0)
                sender.sendto(message, address)
        except OSError:
            pass
