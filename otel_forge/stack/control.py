"""How a command talks to a running supervisor: one JSON line each way over a Unix socket in the state folder.

The request is `{"do": "restart", "names": [...]}` or `{"do": "ping"}`; the answer is `{"ok": true}` or
`{"error": "…"}`, sent when the work is done. The state folder is open to its owner only, and so is the
socket. Stopping needs no socket: it is SIGTERM to the process that holds the lock.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from otel_forge.errors import StackError

_LONGEST_PATH = 100  # of a socket, in bytes; the systems' limits are 104 and 108
Handler = Callable[[dict[str, Any]], Awaitable[None]]


async def serve(path: Path, handler: Handler) -> asyncio.AbstractServer:
    """Listen on a socket at `path`; a StackError of the handler becomes the answer."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with _reachable(path) as name:
        listener.bind(name)
    path.chmod(0o600)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            reply = await _reply(await reader.readline(), handler)
            writer.write(json.dumps(reply).encode() + b"\n")
            await writer.drain()
        except (OSError, ValueError):
            pass  # the asker has gone, or sent a line beyond all measure
        finally:
            writer.close()

    return await asyncio.start_unix_server(answer, sock=listener)


async def _reply(line: bytes, handler: Handler) -> dict[str, Any]:
    try:
        request = json.loads(line)
        if not isinstance(request, dict):
            return {"error": "The request is not a JSON object."}
        await handler(request)
    except (StackError, ValueError) as error:
        return {"error": str(error)}
    return {"ok": True}


def request(path: Path, message: dict[str, Any], timeout: float) -> None:
    """Send one request to the supervisor and wait until it is done; raise StackError with its answer if it failed."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout)
        try:
            with _reachable(path) as name:
                connection.connect(name)
            connection.sendall(json.dumps(message).encode() + b"\n")
            with connection.makefile("rb") as lines:
                answer = json.loads(lines.readline() or b"{}")
        except TimeoutError as error:
            raise StackError(f"The supervisor did not finish within {timeout:g} s; see `otel-forge status`.") from error
        except (OSError, ValueError) as error:
            raise StackError(f"The supervisor does not answer ({error}); `otel-forge down` ends it.") from error
    if "error" in answer:
        raise StackError(str(answer["error"]))
    if not answer.get("ok"):
        raise StackError("The supervisor ended before it had answered; see `otel-forge status`.")


@contextlib.contextmanager
def _reachable(path: Path) -> Iterator[str]:
    """Yield a name of the socket that is short enough, however deep the state folder lies."""
    if len(os.fsencode(path)) <= _LONGEST_PATH:
        yield str(path)
        return
    if sys.platform != "linux":
        raise StackError(f"{path} is too long for a socket; choose a shorter folder with OTEL_FORGE_STATE_DIR.")
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
