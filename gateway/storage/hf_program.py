"""Fetches one file with huggingface_hub and hf_xet; a program, not to be imported.

The order comes as one line of JSON, and the end of the input ends it.
"""

from __future__ import annotations

import json
import os
import sys
import threading


def _end_with_the_input() -> None:
    sys.stdin.read()
    os._exit(3)


def main() -> None:
    """Fetch what the order says."""
    order = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_the_input, daemon=True).start()
    from huggingface_hub import hf_hub_download

    hf_hub_download(**order, force_download=True)
    # Not by returning: the thread that watches the input cannot be joined.
    os._exit(0)


if __name__ == "__main__":
    main()
