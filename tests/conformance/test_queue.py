"""The queue, interrupting what runs, and the history."""

from __future__ import annotations

from .conftest import (
    Client,
    empty_image,
    kinds,
    save,
    slow,
    unique,
)


async def test_the_running_prompt_is_interrupted_by_its_id_only(client: Client) -> None:
    _, first = await client.submit(slow(1020))
    await client.until(lambda f: f.get("type") == "executing" and f["data"]["node"] == "1")
    _, second = await client.submit({"1": empty_image(1021), "2": save("1", unique())})

    assert await client.post("/interrupt", {"prompt_id": second["prompt_id"]}) == (200, b"")
    queue = (await client.get("/queue"))[1]
    assert [p[1] for p in queue["queue_running"]] == [first["prompt_id"]]
    assert [p[1] for p in queue["queue_pending"]] == [second["prompt_id"]]
    assert (await client.get("/prompt"))[1] == {"exec_info": {"queue_remaining": 2}}
    assert (await client.get(f"/history/{first['prompt_id']}"))[1] == {}
    await client.post("/interrupt", {"prompt_id": first["prompt_id"]})

    frames = await client.until_done(first["prompt_id"])
    stopped = next(f["data"] for f in frames if f.get("type") == "execution_interrupted")
    assert stopped["node_type"] == "ImageScale"
    entry = await client.history(first["prompt_id"])
    assert (entry["status"]["status_str"], entry["status"]["completed"]) == ("error", False)
    await client.until_done(second["prompt_id"])
    assert (await client.history(second["prompt_id"]))["status"]["completed"] is True


async def test_an_interrupt_without_an_id_stops_whatever_runs(client: Client) -> None:
    _, body = await client.submit(slow(1022))
    await client.until(lambda f: f.get("type") == "executing" and f["data"]["node"] == "1")

    async with client.session.post(f"{client.engine.url}/interrupt") as response:
        assert response.status == 200

    frames = await client.until_done(body["prompt_id"])
    assert "execution_interrupted" in kinds(frames)


async def test_an_interrupt_of_nothing_stops_no_later_prompt(client: Client) -> None:
    await client.post("/interrupt", {})

    frames, _ = await client.run({"1": empty_image(1023), "2": save("1", unique())})

    assert "execution_success" in kinds(frames)


async def test_waiting_prompts_can_be_reordered_and_removed(client: Client) -> None:
    _, running = await client.submit(slow(1024))
    await client.until(lambda f: f.get("type") == "executing" and f["data"]["node"] == "1")
    late = await client.submit({"1": empty_image(1025), "2": save("1", unique())})
    front = await client.submit({"1": empty_image(1026), "2": save("1", unique())}, front=True)
    numbered = await client.submit({"1": empty_image(1027), "2": save("1", unique())}, number=-9e9)
    assert numbered[1]["number"] == -9e9
    assert front[1]["number"] == -(late[1]["number"] + 1)

    pending = {p[1]: p for p in (await client.get("/queue"))[1]["queue_pending"]}
    assert set(pending) == {one[1]["prompt_id"] for one in (late, front, numbered)}
    assert pending[late[1]["prompt_id"]][3] == {"client_id": client.client_id}
    await client.post("/queue", {"delete": [late[1]["prompt_id"], "nobody"]})
    await client.post("/interrupt", {"prompt_id": running["prompt_id"]})

    frames = await client.until_done(front[1]["prompt_id"])
    starts = [f["data"]["prompt_id"] for f in frames if f.get("type") == "execution_start"]
    assert starts == [numbered[1]["prompt_id"], front[1]["prompt_id"]]
    assert (await client.get(f"/history/{late[1]['prompt_id']}"))[1] == {}


async def test_clearing_the_queue_spares_what_runs(client: Client) -> None:
    _, running = await client.submit(slow(1028))
    await client.until(lambda f: f.get("type") == "executing" and f["data"]["node"] == "1")
    await client.submit({"1": empty_image(1029), "2": save("1", unique())})

    assert await client.post("/queue", {"clear": True}) == (200, b"")

    assert (await client.get("/queue"))[1]["queue_pending"] == []
    await client.post("/interrupt", {"prompt_id": running["prompt_id"]})
    await client.until_done(running["prompt_id"])


async def test_history_is_listed_in_parts_and_deleted(client: Client) -> None:
    await client.post("/history", {"clear": True})
    ids = []
    for color in (1030, 1031, 1032):
        frames, _ = await client.run({"1": empty_image(color), "2": save("1", unique())})
        ids.append(frames[-1]["data"]["prompt_id"])

    async def listed(**query: str) -> list[str]:
        return list((await client.get("/history", **query))[1])

    assert await listed() == ids
    assert await listed(max_items="2") == ids[1:]
    assert await listed(max_items="1", offset="1") == ids[1:2]
    assert await listed(offset="2") == ids[2:]
    assert await listed(max_items="9") == ids
    assert await client.post("/history", {"delete": [ids[0], "nobody"]}) == (200, b"")
    assert await listed() == ids[1:]
    assert (await client.get("/history", max_items="x"))[0] == 500
