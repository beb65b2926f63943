"""Ports for processes that a test starts: free now, and still free once they listen."""

from __future__ import annotations

import itertools
import os
import random
import re
import socket

#: Below the ports that Linux and macOS hand out by themselves, to clients and to listeners that
#: ask for any: one of those might take a port before the process that was to have it has begun.
_FIRST = 10_000
_EACH = 1_250
_WORKERS = 16


def _in_turn() -> itertools.cycle[int]:
    """Return the ports of this worker of the suite, from any one of them on."""
    named = re.fullmatch(r"gw(\d+)", os.environ.get("PYTEST_XDIST_WORKER", ""))
    number = int(named[1]) % _WORKERS if named else 0
    # Not the dice that tests seed.
    skipped = random.SystemRandom().randrange(_EACH)
    own = [_FIRST + number * _EACH + (skipped + place) % _EACH for place in range(_EACH)]
    return itertools.cycle(own)


_ports = _in_turn()


def free_port() -> int:
    """Return a port on which nobody listens, and that nobody else is given for long."""
    return next(port for port in itertools.islice(_ports, _EACH) if _is_free(port))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
