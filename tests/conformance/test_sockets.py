"""Who is told what over WebSockets."""

from __future__ import annotations

from typing import Any

import aiohttp

from .conftest import (
    Client,
    Running,
    connect,
    empty_image,
    kinds,
    save,
    slow,
    unique,
)


async def test_frames_of_a_prompt_go_to_its_client_only(
    client: Client, session: aiohttp.ClientSession
) -> None:
    other = await connect(session, client.engine, unique())

    await client.run({"1": empty_image(1040), "2": save("1", unique())})
    frames = await _until_idle(other)

    assert set(kinds(frames)) == {"status"}
    await other.socket.close()


async def test_a_prompt_of_nobody_tells_everyone_its_progress_only(client: Client) -> None:
    graph = {"1": empty_image(1041), "2": save("1", unique())}
    status, _ = await client.post("/prompt", {"prompt": graph})
    assert status == 200

    frames = await _until_idle(client)

    assert set(kinds(frames)) == {"status", "progress_state"}


async def _until_idle(client: Client) -> list[Any]:
    """Up to the count that falls to nothing after a prompt."""
    seen: list[int] = []

    def fell(frame: dict[str, Any]) -> bool:
        if frame.get("type") == "status":
            seen.append(frame["data"]["status"]["exec_info"]["queue_remaining"])
        return seen[-2:] == [1, 0]

    return await client.until(fell)


async def test_who_comes_back_is_told_what_runs(
    client: Client, session: aiohttp.ClientSession
) -> None:
    _, body = await client.submit(slow(1042))
    await client.until(lambda f: f.get("type") == "executing" and f["data"]["node"] == "1")
    await client.socket.close()

    again = await connect(session, client.engine, client.client_id)
    greeting, running = [await again.next_frame() for _ in range(2)]

    assert greeting["data"]["sid"] == client.client_id
    assert (running["type"], list(running["data"])) == ("executing", ["node"])
    assert running["data"]["node"] in slow(0)
    await again.post("/interrupt", {"prompt_id": body["prompt_id"]})
    await again.until_done(body["prompt_id"])
    await again.socket.close()


async def test_a_client_without_an_id_is_given_one(
    engine: Running, session: aiohttp.ClientSession
) -> None:
    async with session.ws_connect(f"{engine.url}/ws") as socket:
        greeting = await socket.receive_json()

    assert len(greeting["data"]["sid"]) == 32


async def test_features_are_negotiated_by_the_first_message(client: Client) -> None:
    flags = {"type": "feature_flags", "data": {"supports_preview_metadata": True}}

    await client.socket.send_json(flags)
    answer = await client.next_frame()

    assert answer["type"] == "feature_flags"
    assert answer["data"] == (await client.get("/features"))[1]
    await client.socket.send_str("not json")
    await client.socket.send_json(flags)
    frames, _ = await client.run({"1": empty_image(1044), "2": save("1", unique())})
    assert "feature_flags" not in kinds(frames)
