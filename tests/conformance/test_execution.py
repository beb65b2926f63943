"""Running graphs: frames, caching, and nodes that fail."""

from __future__ import annotations

from .conftest import (
    Client,
    cached,
    empty_image,
    kinds,
    png,
    ran,
    save,
    unique,
    upload,
)


async def test_frames_come_in_their_order(client: Client) -> None:
    frames, entry = await client.run({"1": empty_image(1001), "2": save("1", unique())})

    assert kinds(frames) == [
        "status", "status", "execution_start", "execution_cached",
        "progress_state", "executing", "progress_state",
        "progress_state", "executing", "executed", "progress_state",
        "execution_success", "status", "executing",
    ]  # fmt: skip
    assert [kind for kind, _ in entry["status"]["messages"]] == [
        "execution_start",
        "execution_cached",
        "execution_success",
    ]


async def test_an_equal_graph_runs_nothing_and_reports_the_old_files(client: Client) -> None:
    graph = {"1": empty_image(1002), "2": save("1", unique())}
    _, first = await client.run(graph)

    frames, second = await client.run(graph)

    assert (cached(frames), ran(frames)) == (["1", "2"], [])
    assert second["outputs"] == first["outputs"]
    assert "executed" in kinds(frames)


async def test_node_ids_are_no_part_of_what_is_cached(client: Client) -> None:
    prefix = unique()
    await client.run({"1": empty_image(1003), "2": save("1", prefix)})

    frames, _ = await client.run({"a": empty_image(1003), "b": save("a", prefix)})

    assert cached(frames) == ["a", "b"]


async def test_unknown_inputs_are_part_of_what_is_cached(client: Client) -> None:
    graph = {"1": empty_image(1004), "2": save("1", unique())}
    await client.run(graph)
    graph["1"]["inputs"]["nonce"] = 1

    frames, _ = await client.run(graph)
    assert ran(frames) == ["1", "2"]

    graph["1"]["inputs"]["nonce"] = True
    frames, _ = await client.run(graph)
    assert ran(frames) == [], "1 and true are the same to a cache of Python values"


async def test_only_the_last_prompt_is_cached(client: Client) -> None:
    graph = {"1": empty_image(1005), "2": save("1", unique())}
    await client.run(graph)
    await client.run({"1": empty_image(1006), "2": save("1", unique())})

    frames, _ = await client.run(graph)

    assert ran(frames) == ["1", "2"]


async def test_a_picture_that_changed_is_loaded_again(client: Client) -> None:
    name = f"{unique()}.png"
    graph = {
        "1": {"class_type": "LoadImage", "inputs": {"image": name}},
        "2": save("1", unique()),
    }
    await upload(client, name, png((1, 2, 3)))
    await client.run(graph)
    assert ran((await client.run(graph))[0]) == []

    await upload(client, name, png((4, 5, 6)), overwrite="true")

    assert ran((await client.run(graph))[0]) == ["1", "2"]


async def test_freeing_memory_forgets_what_is_cached(client: Client) -> None:
    graph = {"1": empty_image(1007), "2": save("1", unique())}
    await client.run(graph)
    await client.post("/free", {"unload_models": True})
    assert ran((await client.run(graph))[0]) == []

    assert await client.post("/free", {"free_memory": True}) == (200, b"")
    # The worker frees before it takes another prompt, unless it had woken up for that one.
    await client.run({"1": empty_image(1008), "2": save("1", unique())})

    assert ran((await client.run(graph))[0]) == ["1", "2"]


async def test_outputs_come_before_the_rest(client: Client) -> None:
    graph = {
        "1": empty_image(1009),
        "2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
        "3": {"class_type": "ImageInvert", "inputs": {"image": ["2", 0]}},
        "4": save("3", unique()),
        "5": save("1", unique()),
    }

    frames, entry = await client.run(graph)

    assert ran(frames) == ["1", "5", "2", "3", "4"]
    assert set(entry["outputs"]) == {"4", "5"}


async def test_a_failing_node_leaves_the_outputs_before_it(client: Client) -> None:
    graph = {
        "1": empty_image(1010),
        "2": save("1", unique()),
        "3": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
        "4": save("3", "../outside"),
    }

    frames, entry = await client.run(graph)

    failure = next(f["data"] for f in frames if f["type"] == "execution_error")
    assert (failure["node_id"], failure["node_type"]) == ("4", "SaveImage")
    assert failure["exception_type"] == "Exception"
    root = client.engine.base
    assert failure["exception_message"] == (
        "**** ERROR: Saving image outside the output folder is not allowed."
        f"\n full_output_folder: {root}\n         output_dir: {root}/output"
        f"\n         commonpath: {root}\n"
    )
    assert failure["current_inputs"]["filename_prefix"] == ["../outside"]
    assert sorted(failure["current_inputs"]) == [
        "extra_pnginfo", "filename_prefix", "images", "prompt",
    ]  # fmt: skip
    assert sorted(failure["executed"]) == ["1", "2", "3"]
    assert sorted(failure["current_outputs"]) == ["1", "2", "3", "4"]
    assert list(entry["outputs"]) == ["2"]
    assert (entry["status"]["status_str"], entry["status"]["completed"]) == ("error", False)
    assert "execution_success" not in kinds(frames)


async def test_a_link_into_an_unknown_input_fails_the_node(client: Client) -> None:
    image = empty_image(1011)
    image["inputs"]["mystery"] = ["0", 0]

    frames, _ = await client.run({"0": empty_image(1012), "1": image, "2": save("1", unique())})

    failure = next(f["data"] for f in frames if f["type"] == "execution_error")
    assert failure["exception_type"] == "TypeError"
    assert "got an unexpected keyword argument 'mystery'" in failure["exception_message"]


async def test_values_are_shown_as_they_were_converted(client: Client) -> None:
    image = empty_image(1013)
    image["inputs"] |= {"width": "40", "height": 12.9, "batch_size": {"__value__": True}}

    _, entry = await client.run({"1": image, "2": save("1", unique())})

    shown = entry["prompt"][2]["1"]["inputs"]
    assert (shown["width"], shown["height"], shown["batch_size"]) == (40, 12, 1)


async def test_secrets_do_not_reach_the_history(client: Client) -> None:
    extra = {"auth_token_comfy_org": "a", "api_key_comfy_org": "b", "kept": 1}

    _, entry = await client.run({"1": empty_image(1014), "2": save("1")}, extra_data=extra)

    assert entry["prompt"][3] == {"kept": 1, "client_id": client.client_id}
