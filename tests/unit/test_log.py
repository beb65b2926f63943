from __future__ import annotations

import json
import subprocess
import sys

from tests.docs.running import ROOT

PROGRAM = """
import sys
import stamina, structlog
from gateway import log
log.configure("info", "json", sys.stderr)

@stamina.retry(on=ValueError, attempts=2, wait_initial=0, wait_jitter=0)
def fails(token):
    raise ValueError("the host answered 503")

with structlog.contextvars.bound_contextvars(url="https://example.org/a"):
    try:
        fails("entrusted")
    except ValueError:
        pass
"""


def test_another_try_is_told_with_its_reason_and_without_arguments() -> None:
    """In a process of its own: logging is set up once for all."""
    ended = subprocess.run(
        (sys.executable, "-c", PROGRAM), cwd=ROOT, capture_output=True, text=True, check=True
    )
    (line,) = map(json.loads, ended.stderr.splitlines())
    assert (line["event"], line["level"]) == ("trying again", "warning")
    assert line["reason"] == "the host answered 503"
    assert (line["attempt"], line["wait_s"]) == (2, 0)
    assert line["url"] == "https://example.org/a"
    assert "entrusted" not in ended.stderr
