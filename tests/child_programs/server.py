"""A tiny engine that misbehaves on request; the standard library only."""

from __future__ import annotations

import argparse
import http.server
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path


def main() -> None:
    options = _options()
    if options.ignore_sigterm:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for line in options.print:
        print(line)
    print(json.dumps(_family(options)), flush=True)
    if options.exit_code is not None and not options.exit_after:
        os._exit(options.exit_code)
    time.sleep(options.startup_delay)
    server = http.server.ThreadingHTTPServer((options.listen, options.port), _handler(options))
    if options.exit_after:
        threading.Timer(options.exit_after, os._exit, [options.exit_code or 0]).start()
    server.serve_forever()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("tag", help="by which a test finds what is left of it")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--listen", default="127.0.0.1")
    parser.add_argument("--startup-delay", type=float, default=0)
    parser.add_argument("--ignore-sigterm", action="store_true")
    parser.add_argument("--exit-code", type=int)
    parser.add_argument("--exit-after", type=float, default=0)
    parser.add_argument("--print", action="append", default=[])
    parser.add_argument("--grandchild", action="store_true")
    parser.add_argument("--daemon", action="store_true", help="one more, which cuts its ties")
    parser.add_argument("--mute-while", type=Path, help="do not answer while this file exists")
    return parser.parse_args()


def _family(options: argparse.Namespace) -> dict[str, int]:
    found = {"server": os.getpid()}
    if options.grandchild:
        found["grandchild"] = _fork_one()
    if options.daemon:
        found["daemon"] = _fork_daemon()
    return found


def _fork_one() -> int:
    pid = os.fork()
    if pid == 0:
        _linger()
    return pid


def _fork_daemon() -> int:
    """Fork twice, in a session of its own, as daemons do: its parent is gone at once."""
    reader, writer = os.pipe()
    first = os.fork()
    if first == 0:
        os.setsid()
        os.write(writer, str(_fork_one()).encode())
        os._exit(0)
    os.waitpid(first, 0)
    return int(os.read(reader, 32))


def _linger() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        time.sleep(60)


def _handler(options: argparse.Namespace) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            while options.mute_while is not None and options.mute_while.exists():
                time.sleep(0.02)
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            """Requests are not worth a line."""

    return Handler


if __name__ == "__main__":
    sys.exit(main())
