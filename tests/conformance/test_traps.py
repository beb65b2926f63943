"""Traps of ComfyUI that a gateway in front of it has to know; the embedded engine has them too."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest

from .conftest import Client, Running, connect, empty_image, ran, save, start_engine, unique


async def test_closing_an_old_socket_silences_the_new_one_of_the_same_id(
    engine: Running, session: aiohttp.ClientSession
) -> None:
    """A reconnect under the same id is lost when the old socket ends later."""
    name = unique()
    old, new = [await connect(session, engine, name) for _ in range(2)]
    await new.next_frame()
    await old.socket.close()
    witness = await connect(session, engine, unique())
    await witness.next_frame()

    await witness.run({"1": empty_image(1043), "2": save("1", unique())})

    await new.socket.ping()
    with pytest.raises(TimeoutError):
        await new.socket.receive(timeout=0.3)
    for client in (new, witness):
        await client.socket.close()


async def test_a_cycle_through_unknown_inputs_fails_and_counts_as_success(client: Client) -> None:
    invert = {"class_type": "ImageInvert", "inputs": {"image": ["0", 0], "mystery": ["1", 0]}}
    graph = {"0": empty_image(1050), "1": invert, "2": save("1", unique())}

    frames, entry = await client.run(graph)

    assert ran(frames) == ["0"]
    failure = next(f["data"] for f in frames if f["type"] == "execution_error")
    assert failure["exception_type"] == "graph.DependencyCycleError"
    assert failure["exception_message"] == "Dependency cycle detected"
    assert (failure["node_id"], failure["executed"]) == ("2", ["0"])
    assert (failure["traceback"], failure["current_inputs"]) == ([], [])
    assert (entry["status"]["status_str"], entry["status"]["completed"]) == ("success", True)
    assert entry["outputs"] == {}


@pytest.mark.parametrize("kind", ["embedded", pytest.param("stock", marks=pytest.mark.comfy)])
async def test_an_unknown_link_to_no_node_stops_all_work_while_http_answers(
    kind: str, tmp_path: Path, session: aiohttp.ClientSession
) -> None:
    engine = start_engine(kind, tmp_path)
    client = await connect(session, engine, unique())
    image = empty_image()
    image["inputs"]["mystery"] = ["nobody", 0]

    status, body = await client.submit({"1": image, "2": save("1")})
    assert (status, body["node_errors"]) == (200, {})
    await client.until(lambda frame: frame.get("type") == "execution_cached")
    await client.submit({"1": empty_image(), "2": save("1")})

    await client.next_frame()
    with pytest.raises(TimeoutError):
        await client.socket.receive(timeout=0.5)
    queue = (await client.get("/queue"))[1]
    assert [prompt[1] for prompt in queue["queue_running"]] == [body["prompt_id"]]
    assert len(queue["queue_pending"]) == 1
    await client.socket.close()
    engine.stop()
