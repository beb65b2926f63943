"""A workflow of the gateway as the flags want it: values by the names of its parameters."""

from __future__ import annotations

from gateway.cli.client import Client
from gateway.cli.failure import CommandFailed
from gateway.cli.flags import Flags
from gateway.cli.order import Order


async def of(client: Client, name: str, flags: Flags) -> Order:
    raise CommandFailed("not yet")
