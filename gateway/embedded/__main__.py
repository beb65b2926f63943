"""`python -m gateway.embedded --port N`: run the engine until it is told to end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys

from gateway.embedded.options import parse
from gateway.embedded.server import serve

# A chain of several hundred nodes is walked by recursion.
RECURSION_LIMIT = 10_000

log = logging.getLogger("gateway.embedded")


def main() -> int:
    options = parse()
    sys.setrecursionlimit(RECURSION_LIMIT)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    if options.ignored:
        log.info("Ignored, of no meaning without torch: %s", " ".join(options.ignored))
    options.faults.before_start()
    with contextlib.suppress(KeyboardInterrupt):
        try:
            asyncio.run(serve(options))
        except OSError as failure:
            log.warning("Cannot listen: %s", failure)
            return 1
    log.info("Stopped server")
    return 0


if __name__ == "__main__":
    sys.exit(main())
