"""The parts of the engine, built once and handed to each other."""

from __future__ import annotations

import asyncio
from typing import Any

from gateway.embedded.caching import Cache
from gateway.embedded.execution import Workbench
from gateway.embedded.executor import Executor
from gateway.embedded.folders import Folders
from gateway.embedded.interruption import Interruption
from gateway.embedded.options import Options
from gateway.embedded.pending import Pending
from gateway.embedded.sockets import Sockets


class Engine:
    """Everything one process has; HTTP handlers call its parts."""

    def __init__(self, options: Options) -> None:
        self.faults = options.faults
        self.features: dict[str, Any] = {
            "supports_preview_metadata": True,
            "max_upload_size": options.max_upload_bytes,
        }
        self.folders = Folders(options)
        self.sockets = Sockets(self.status, self.features, options.faults)
        self.pending = Pending(self.sockets.send_status)
        self.executor = Executor(
            pending=self.pending,
            sockets=self.sockets,
            bench=Workbench(
                folders=self.folders,
                cache=Cache(),
                interruption=Interruption(),
                faults=options.faults,
                metadata=options.metadata,
            ),
            preview_size=options.preview_size if options.previews else None,
        )

    def status(self) -> dict[str, Any]:
        return {"exec_info": {"queue_remaining": self.pending.remaining()}}

    async def run(self) -> None:
        """Clear what an earlier run left, start the worker, and publish frames for ever."""
        self.folders.prepare()
        self.executor.start(asyncio.get_running_loop())
        await self.sockets.publish()
