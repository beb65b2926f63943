"""Programs that the suite talks to: each started when it is first asked for, ended with the run."""

from __future__ import annotations

import base64
import hashlib
import hmac
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import ExitStack
from email.utils import formatdate
from functools import cached_property
from pathlib import Path

import pytest

from tests.ports import free_port

ROOT = Path(__file__).parents[3]
AZURITE = ROOT / ".venv/azurite/node_modules/azurite/dist/src/blob/main.js"
#: Azurite's account is the same everywhere; its documentation names it.
ACCOUNT = "devstoreaccount1"
ACCOUNT_KEY = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)
BUCKET = "bucket"
_PATIENCE_S = 30


class Servers:
    """What runs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ExitStack()

    @cached_property
    def buckets(self) -> str:
        """The address of a server of S3 and Google buckets, with one bucket."""
        program = Path(__file__).with_name("bucket_server.py")
        # -P: the files beside it would hide modules of the same names, http among them.
        process = self._started(sys.executable, "-P", str(program))
        assert process.stdout is not None
        url = f"http://127.0.0.1:{int(process.stdout.readline())}"
        _put(f"{url}/{BUCKET}", {})
        return url

    @cached_property
    def azurite(self) -> str:
        """The URL of an Azure account, with one container."""
        node = shutil.which("node")
        if node is None or not AZURITE.exists():
            pytest.skip("Azurite is missing: `bash run.sh test` installs it where npm is")
        port = free_port()
        options = ["--blobPort", str(port), "--inMemoryPersistence", "--silent"]
        self._started(node, str(AZURITE), *options, "--disableTelemetry")
        _wait_for(port)
        url = f"http://127.0.0.1:{port}/{ACCOUNT}"
        at = formatdate(usegmt=True)
        signed = (
            f"PUT{chr(10) * 12}x-ms-date:{at}\nx-ms-version:2021-08-06\n"
            f"/{ACCOUNT}/{ACCOUNT}/{BUCKET}\nrestype:container"
        )
        digest = hmac.digest(base64.b64decode(ACCOUNT_KEY), signed.encode(), hashlib.sha256)
        key = f"SharedKey {ACCOUNT}:{base64.b64encode(digest).decode()}"
        headers = {"x-ms-date": at, "x-ms-version": "2021-08-06", "Authorization": key}
        _put(f"{url}/{BUCKET}?restype=container", headers)
        return url

    def close(self) -> None:
        self._stack.close()

    def _started(self, *command: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=self._folder,
            text=True,
        )
        self._stack.callback(_ended, process)
        return process


def _ended(process: subprocess.Popen[str]) -> None:
    process.terminate()
    with process:
        process.wait(_PATIENCE_S)


def _put(url: str, headers: dict[str, str]) -> None:
    request = urllib.request.Request(url, method="PUT", headers=headers)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=_PATIENCE_S):
        pass


def _wait_for(port: int) -> None:
    limit = time.monotonic() + _PATIENCE_S
    while time.monotonic() < limit:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(f"nothing listens on {port}")
