from __future__ import annotations

import os
import socket

import pytest

from gateway.comfy import port
from gateway.comfy.port import Listener


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ([], "nothing answers on 127.0.0.1:8188 yet"),
        ([Listener("127.0.0.1", 8000)], "listens on 127.0.0.1:8000, and not on port 8188"),
        ([Listener("10.0.0.7", 8188)], "listens on 10.0.0.7 port 8188, but does not answer"),
        ([Listener("127.0.0.1", 8188)], "listens on port 8188, and does not answer yet"),
        ([Listener("0.0.0.0", 8188), Listener("::1", 9)], "listens on port 8188, and does not"),
    ],
)
def test_missing_flag(found: list[Listener], told: str) -> None:
    assert told in port.missing_flag(found, "127.0.0.1", 8188)


@pytest.mark.parametrize("listens_on", ["127.0.0.1", "0.0.0.0"])
def test_a_held_port_is_not_free_and_its_holder_is_named(listens_on: str) -> None:
    with socket.create_server((listens_on, 0)) as server:
        number = server.getsockname()[1]
        assert not port.is_free("127.0.0.1", number)
        assert port.holder(number).startswith(f"pid {os.getpid()}, ")
        assert port.owner(os.getpid(), number) == "child"
        assert Listener(listens_on, number) in port.listeners(os.getpid())
    assert port.is_free("127.0.0.1", number)
    assert port.holder(number) == ""


def test_connections_that_linger_do_not_hold_the_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        number = server.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", number))
        accepted, _ = server.accept()
        accepted.close()
    client.close()

    assert port.is_free("127.0.0.1", number)


def test_an_address_that_cannot_be_resolved_is_left_to_comfyui() -> None:
    assert port.is_free("no.such.host.invalid", 8188)


def test_nobody_is_not_a_stranger() -> None:
    assert port.owner(os.getpid(), 1) == "unknown"


def test_held_sentence() -> None:
    assert port.held_sentence(8188, "pid 12, nginx") == (
        "Port 8188 is held by another program (pid 12, nginx): stop it, or set COMFYUI_PORT_HOST "
        "to a free port."
    )
    assert "another program: stop it" in port.held_sentence(8188, "")
