"""Asks a server over HTTP whether it is ready, without blocking the supervisor's loop."""

from __future__ import annotations

import asyncio
import contextlib
from urllib.parse import urlsplit


async def ask(url: str, timeout: float) -> tuple[bool, str]:
    """Return whether the URL answers 2xx within `timeout` seconds, and what it said in a few words."""
    try:
        return await asyncio.wait_for(_get(url), timeout)
    except asyncio.TimeoutError:
        return False, f"no answer within {timeout:g} s"
    except OSError as error:
        return False, "connection refused" if isinstance(error, ConnectionRefusedError) else str(error)


async def _get(url: str) -> tuple[bool, str]:
    parts = urlsplit(url)
    host, port = parts.hostname or "127.0.0.1", parts.port or 80
    reader, writer = await asyncio.open_connection(host, port)
    try:
        path = parts.path or "/"
        request = f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n"
        writer.write(request.encode("ascii"))
        await writer.drain()
        answer = (await reader.read(2048)).decode("utf-8", "replace")
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    head, _, body = answer.partition("\r\n\r\n")
    words = head.split("\r\n")[0].split(" ", 2)
    if len(words) < 2 or not words[1].isdigit():
        return False, "no HTTP answer"
    said = " / ".join(line.strip() for line in body.splitlines() if line.strip())[:200]
    return words[1].startswith("2"), f"HTTP {words[1]} {said}".strip()


def ask_now(urls: dict[str, str], timeout: float = 2.0) -> dict[str, tuple[bool, str]]:
    """Ask several servers at the same time, from code that runs no event loop."""

    async def ask_all() -> list[tuple[bool, str]]:
        return await asyncio.gather(*(ask(url, timeout) for url in urls.values()))

    return dict(zip(urls, asyncio.run(ask_all()), strict=True))
