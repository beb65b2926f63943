"""huggingface_hub as this process uses it: loaded on first use, and kept to what is asked of it."""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from types import ModuleType
from typing import Any

#: Seconds without a byte; by itself it waits for ever.
_SILENCE_S = 60.0

_is_stopped: ContextVar[Callable[[], bool]] = ContextVar("is_stopped", default=lambda: False)


class Stopped(ValueError):
    """What this thread does for an upload is not wanted any more."""


@contextlib.contextmanager
def stoppable(is_stopped: Callable[[], bool]) -> Iterator[None]:
    """Let this thread ask for nothing more once `is_stopped`: the library tries again for long."""
    reset = _is_stopped.set(is_stopped)
    try:
        yield
    finally:
        _is_stopped.reset(reset)


def _check(_: Any) -> None:
    if _is_stopped.get()():
        raise Stopped


@functools.cache
def library() -> ModuleType:
    """Return huggingface_hub."""
    import huggingface_hub
    from huggingface_hub import constants
    from huggingface_hub.utils.tqdm import disable_progress_bars

    constants.HF_HUB_DISABLE_TELEMETRY = True
    # The token that somebody left on this machine is not the gateway's to send.
    constants.HF_HUB_DISABLE_IMPLICIT_TOKEN = True
    # hf_xet keeps caches and logs in the home folder, and cannot be stopped: uploads go by LFS
    # over HTTP, and downloads have a process of their own.
    constants.HF_HUB_DISABLE_XET = True
    disable_progress_bars()
    # Each module that is loaded sets the level again.
    _ = huggingface_hub.HfApi
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    _make_clients_with_limits(huggingface_hub)
    return huggingface_hub


def _make_clients_with_limits(hub: ModuleType) -> None:
    plain = hub.get_session()
    hooks = {**plain.event_hooks, "request": [_check, *plain.event_hooks["request"]]}
    client: Callable[..., Any] = type(plain)
    hub.set_client_factory(
        lambda: client(event_hooks=hooks, follow_redirects=True, timeout=_SILENCE_S)
    )
