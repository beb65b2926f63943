"""Who holds ComfyUI's port: nobody, the child, or a stranger. All of it blocks; use a thread."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Iterable
from typing import Literal, NamedTuple

import psutil

_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 -- compared with, not bound to

Owner = Literal["child", "stranger", "unknown"]


class Listener(NamedTuple):
    """An address a process listens on."""

    host: str
    port: int


def is_free(host: str, port: int) -> bool:
    """Whether ComfyUI could listen there."""
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        return True  # ComfyUI will say itself what is wrong with the address
    return all(_can_bind(family, address) for family, *_, address in addresses)


def _can_bind(family: int, address: tuple[object, ...]) -> bool:
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            # As servers do: connections of an earlier run that linger are in nobody's way.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            # With SO_REUSEADDR some systems let two bind, and refuse only the second to listen.
            probe.listen(1)
    except PermissionError:
        return True
    except OSError as failure:
        return failure.errno != errno.EADDRINUSE
    return True


def holder(port: int) -> str:
    """Return "pid 12, nginx" as far as this user may know, else ""."""
    with contextlib.suppress(psutil.Error, OSError):
        for pid in _listening_pids(port) - {None}:
            return f"pid {pid}, {psutil.Process(pid).name()}"
    return ""


def held_sentence(port: int, who: str) -> str:
    """Return what to tell an operator whose port is taken."""
    named = f" ({who})" if who else ""
    return (
        f"Port {port} is held by another program{named}: stop it, or set COMFYUI_PORT_HOST "
        "to a free port."
    )


def owner(root: int, port: int) -> Owner:
    """Tell whether the process tree of `root` is what listens on the port."""
    tree = _tree(root)
    try:
        if any(listener.port == port for listener in _listeners(tree)):
            return "child"
        pids = _listening_pids(port)
    except (psutil.Error, OSError):
        return "unknown"
    ours = {process.pid for process in tree}
    if not pids or None in pids or pids & ours:
        return "unknown"
    return "stranger"


def listeners(root: int) -> set[Listener]:
    """Return what the process tree of `root` listens on, as far as can be told."""
    try:
        return _listeners(_tree(root))
    except (psutil.Error, OSError):
        return set()


def missing_flag(found: Iterable[Listener], host: str, port: int) -> str:
    """Return which flag CMD seems to lack, when ComfyUI lives but not where it should."""
    seen = sorted(set(found))
    right_port = [one.host for one in seen if one.port == port]
    if {host, *_EVERYWHERE} & set(right_port):
        return f"ComfyUI listens on port {port}, and does not answer yet."
    if right_port:
        return (
            f"ComfyUI listens on {', '.join(right_port)} port {port}, but does not answer on "
            f"{host}: CMD probably lacks --listen ${{DIRECT_ADDRESS}}."
        )
    if seen:
        places = ", ".join(f"{one.host}:{one.port}" for one in seen)
        return (
            f"ComfyUI listens on {places}, and not on port {port}: CMD probably lacks "
            "--port ${COMFYUI_PORT_HOST}."
        )
    return (
        f"ComfyUI lives, and nothing answers on {host}:{port} yet. If it is not still loading, "
        "CMD lacks --port ${COMFYUI_PORT_HOST} or --listen ${DIRECT_ADDRESS}."
    )


def _tree(root: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(root)
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []


def _listeners(tree: list[psutil.Process]) -> set[Listener]:
    found = set()
    for process in tree:
        with contextlib.suppress(psutil.NoSuchProcess):
            for connection in process.net_connections("tcp"):
                if connection.status == psutil.CONN_LISTEN:
                    found.add(Listener(*connection.laddr[:2]))
    return found


def _listening_pids(port: int) -> set[int | None]:
    return {
        connection.pid
        for connection in psutil.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
        and connection.laddr
        and connection.laddr.port == port
    }
