"""huggingface_hub as this process uses it: loaded on first use, and kept to what is asked of it."""

from __future__ import annotations

import functools
import logging
from types import ModuleType

#: Seconds without a byte; by itself it waits for ever.
_SILENCE_S = 60.0


def library() -> ModuleType:
    """Return the library, its shared client with a timeout: it makes a new one now and then."""
    found = _loaded()
    found.get_session().timeout = _SILENCE_S
    return found


@functools.cache
def _loaded() -> ModuleType:
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
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    return huggingface_hub
