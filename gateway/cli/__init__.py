"""The command line; each command calls one function."""

from __future__ import annotations

import sys

#: Exit status after Ctrl-C, as shells have it: 128 + SIGINT.
INTERRUPTED = 130


def main() -> None:
    """Run the command that the arguments name."""
    if sys.argv[1:] == ["serve"]:
        # What stays up for months carries nothing of the command line along.
        from gateway.cli.serve import serve

        serve()
    _run()


def _run() -> None:
    from gateway import errors
    from gateway.cli.commands import app
    from gateway.cli.failure import CommandFailed

    try:
        app(prog_name="gateway")
    except (CommandFailed, errors.GatewayError) as failure:
        hint = f"\nhint: {failure.hint}" if failure.hint else ""
        sys.stderr.write(f"error: {failure.message}{hint}\n")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
