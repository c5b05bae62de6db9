"""A small HTTP server that stands for a component: it answers, logs, crashes and hangs as it is told."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path


class Handler(BaseHTTPRequestHandler):
    """`/ready` says 200, `/crash` ends the process, `/log?TEXT` prints, `/flood?N` prints N long lines."""

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        if path == "/crash":
            os._exit(3)
        if path == "/log":
            print(query, flush=True)
        if path == "/flood":
            for number in range(int(query)):
                print(f"line {number:08d} " + "x" * 80)
            sys.stdout.flush()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"ok\n")

    def log_message(self, format: str, *args: object) -> None:
        """Keep the log for what the tests put there."""


def note(home: Path, event: str, name: str) -> None:
    """Append one event with its time to the file that the tests read the order from."""
    with (home / "events").open("a") as file:
        file.write(f"{time.monotonic():.6f} {event} {name}\n")


def main() -> None:
    """Serve until told to end."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--home", type=Path, required=True, help="also marks the process as this test's")
    parser.add_argument("--name", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--exit-at-once", action="store_true")
    parser.add_argument("--exit-if", type=Path, help="end at once when this file exists")
    parser.add_argument("--deaf", action="store_true", help="ignore SIGTERM")
    parser.add_argument("--silent", action="store_true", help="run, but answer nobody")
    parser.add_argument("--with-child", action="store_true", help="start a process of its own")
    parser.add_argument("--meet", type=Path, help="leave a file here and serve once there are two")
    options = parser.parse_args()
    print(f"{options.name} starts", flush=True)
    note(options.home, "start", options.name)
    if options.exit_at_once or (options.exit_if and options.exit_if.exists()):
        print("FATAL: cannot read my configuration", flush=True)
        sys.exit(4)
    if options.with_child:
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", str(options.home)])

    def end(*_: object) -> None:
        note(options.home, "stop", options.name)
        os._exit(0)

    signal.signal(signal.SIGTERM, signal.SIG_IGN if options.deaf else end)
    if options.silent:
        while True:
            signal.pause()
    if options.meet:
        (options.meet / f"{options.name}.met").touch()
        while len(list(options.meet.glob("*.met"))) < 2:
            time.sleep(0.01)
    HTTPServer.allow_reuse_address = True
    server = HTTPServer(("127.0.0.1", options.port), Handler)
    note(options.home, "serve", options.name)
    server.serve_forever()


main()
