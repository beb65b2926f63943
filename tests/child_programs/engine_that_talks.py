"""The embedded engine, writing a line into its log every now and then."""

from __future__ import annotations

import runpy
import threading
import time


def talk() -> None:
    while True:
        print("all is well", flush=True)
        print("UserWarning: it is getting warm", flush=True)
        time.sleep(0.05)


threading.Thread(target=talk, daemon=True).start()
runpy.run_module("gateway.embedded", run_name="__main__")
