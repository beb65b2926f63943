"""A server of buckets, run as a program: moto, which speaks S3's language.

Google's XML interface, which the library uses, is a dialect of the same; no emulator on the package
index speaks it (they know the JSON interface alone). Credentials with "wrong" in them are refused
as S3 and Google refuse them, since moto takes any.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

ERROR = "<Error><Code>{code}</Code><Message>{given}</Message></Error>"
CODES = {"AWS4": "InvalidAccessKeyId", "Bear": "AuthenticationRequired"}


class Silent(WSGIRequestHandler):
    # Without it, every request would be a connection of its own.
    protocol_version = "HTTP/1.1"

    def log(self, *_: Any) -> None:
        pass


def refusing(app: Any) -> Any:
    def answer(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        given = environ.get("HTTP_AUTHORIZATION", "")
        if "wrong" not in given.lower():
            return app(environ, start)
        # As the storages do, the answer quotes what it was given.
        body = ERROR.format(code=CODES[given[:4]], given=given).encode()
        body = b"" if environ["REQUEST_METHOD"] == "HEAD" else body
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        start("403 Forbidden", [("Content-Length", str(len(body)))])
        return [body]

    return answer


def main() -> None:
    app = refusing(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Silent)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_port, flush=True)
    sys.stdin.read()  # until whoever started it is gone


if __name__ == "__main__":
    main()
