"""The command line; each command calls one function."""

from __future__ import annotations

import sys

#: Exit status after Ctrl-C, as shells have it: 128 + SIGINT.
INTERRUPTED = 130


def main() -> None:
    """Run the command that the arguments name."""
    if sys.argv[1:] == ["serve"]:
        _serve()
    _run()


def _serve() -> None:
    """Serve without the command line: what stays up for months carries nothing of it along."""
    # structlog takes rich along where it finds it, 5 MB, for tracebacks that we do not draw.
    sys.modules.setdefault("rich", None)  # type: ignore[arg-type]
    from gateway.cli.serve import serve

    serve()


def _run() -> None:
    from gateway import errors
    from gateway.cli.commands import app
    from gateway.cli.failure import CommandFailed, plain

    try:
        app(prog_name="gateway")
    except (CommandFailed, errors.GatewayError) as failure:
        hint = f"\nhint: {failure.hint}" if failure.hint else ""
        sys.stderr.write(plain(f"error: {failure.message}{hint}\n"))
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
