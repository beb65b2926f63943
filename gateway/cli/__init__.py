"""The command line; each command calls one function."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command that the arguments name."""
    if sys.argv[1:] == ["serve"]:
        # What stays up for months carries nothing of the command line along.
        from gateway.cli.serve import serve

        serve()
    from gateway.cli.commands import app

    app(prog_name="gateway")
