"""What was made is remembered with the end of its job, and found again."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from gateway.jobs.generation import Sought
from gateway.jobs.job import State
from gateway.jobs.policy import Policy
from gateway.jobs.store import Store, open_store
from tests.contract.stores import Hands, claim, outcome, put

#: 2027-01-15 08:00:00 UTC, milliseconds.
BEGAN = 1_800_000_000_000
RECIPE = {
    "prompt": "A (Sunset:1.2) over C++ mountains, café",
    "negative_prompt": "blurry, low-res",
    "seed": 7,
    "steps": 20,
    "cfg": 7.5,
    "sampler": "euler",
    "scheduler": "normal",
    "denoise": 1.0,
    "width": 8,
    "height": 4,
    "loras": [{"name": "styles/Add Detail.v2.safetensors", "strength": 0.5, "strength_clip": 0.5}],
    "models": [{"folder": "checkpoints", "name": "sd15.safetensors", "sha256": None}],
}

numbers = itertools.count()


def result(outputs: int = 1, end: float = BEGAN, **recipe: Any) -> dict[str, Any]:
    entries = [
        {"node_id": "9", "index": index, "filename": f"{index}.png", "path": f"/o/{index}.png"}
        for index in range(outputs)
    ]
    return {
        "outputs": entries,
        "texts": [],
        "recipes": {"9": {**RECIPE, **recipe}},
        "versions": {"gateway": "1", "comfyui": "2"},
        "stats": {"comfy_execution": {"start": end - 1500, "end": end, "duration": 1500}},
    }


async def make(store: Store, job_id: str | None = None, **more: Any) -> str:
    """Run a job to its end, a second after the one before; return its id."""
    number = next(numbers)
    job_id = job_id or f"job{number}"
    request = more.pop("request", {})
    await put(store, job_id, request=request)
    found = result(**{"end": BEGAN + number * 1000, **more})
    await store.finish(await claim(store), outcome(result=found))
    return job_id


async def found(store: Store, **sought: Any) -> list[str]:
    page, _ = await store.generations.list(Sought(**sought))
    return [one["job_id"] for one in page]


async def test_a_job_that_succeeds_is_remembered_with_all_it_tells(store: Store) -> None:
    request = {"workflow": "people/portrait", "preset": "fast", "metadata": {"mine": 1}}
    await make(store, "a", request=request, end=BEGAN)

    page, following = await store.generations.list(Sought())

    assert following is None
    assert page == [
        {
            "timestamp": "2027-01-15T08:00:00.000Z",
            "job_id": "a",
            "workflow": "people/portrait",
            **{key: RECIPE[key] for key in ("prompt", "negative_prompt", "seed", "steps", "cfg")},
            **{key: RECIPE[key] for key in ("sampler", "scheduler", "denoise", "loras")},
            "preset": "fast",
            "validation_score": None,
            "url": "/jobs/a/outputs/0",
            "filename": "0.png",
            "node_id": "9",
            "index": 0,
            "width": 8,
            "height": 4,
            "models": RECIPE["models"],
            "duration": 1.5,
            "gateway_version": "1",
            "comfyui_version": "2",
        }
    ]


@pytest.mark.parametrize("state", [State.FAILED, State.CANCELLED])
async def test_only_what_succeeded_is_remembered(store: Store, state: State) -> None:
    await put(store, "a")
    await store.finish(await claim(store), outcome(state, result=result()))
    assert await found(store) == []


async def test_who_wants_no_sidecars_is_not_remembered(store: Store) -> None:
    await make(store, request={"metadata": False})
    assert await found(store) == []


async def test_a_delivery_is_remembered_when_it_ends(store: Store) -> None:
    await put(store, "a")
    lease = await claim(store)
    await store.finish(lease, outcome(State.DELIVERING, result=result()))
    assert await found(store) == []
    await store.finish(lease, outcome(result=result()))
    assert await found(store) == ["a"]


async def test_nothing_is_remembered_where_that_is_not_wanted(url: str, hands: Hands) -> None:
    store = await open_store(url, hands, Policy(keeps_generations=False))
    await make(store)
    assert await found(store) == []
    await store.close()


async def test_what_is_remembered_is_there_after_a_restart(url: str) -> None:
    store = await open_store(url)
    made = await make(store)
    await store.close()
    again = await open_store(url)
    assert await found(again, prompt="sunset") == [made]
    await again.close()


# Words


@pytest.mark.parametrize(
    ("prompt", "wanted"),
    [
        ("A (Sunset:1.2) over C++ mountains, café", "sunset"),
        ("A (Sunset:1.2) over C++ mountains, café", "MOUNTAINS sunset"),
        ("A (Sunset:1.2) over C++ mountains, café", '"sunset 1.2 over"'),
        ("A (Sunset:1.2) over C++ mountains, café", "(sunset:1.2)"),
        ("A (Sunset:1.2) over C++ mountains, café", "mount* sun*"),
        ("A (Sunset:1.2) over C++ mountains, café", "cafe"),
        ("A (Sunset:1.2) over C++ mountains, café", "C++"),
        ("A (Sunset:1.2) over C++ mountains, café", '"sunset'),
        ("A (Sunset:1.2) over C++ mountains, café", 'sunset " ( * - ^ :'),
        ("A (Sunset:1.2) over C++ mountains, café", "sunset\0café"),
        ("A (Sunset:1.2) over C++ mountains, café", "  "),
        ("夕日の海辺 beautiful", "夕日"),
        ("夕日の海辺 beautiful", "海*"),
        ("노을 풍경", "풍*"),
        ("a cat 🌅 at dawn", "🌅"),
        ("a cat🌅at dawn", "cat"),
        ("half \ud800 a character", "character"),
        ("null\0null", "null"),
        ("word " * 5000, "word " * 2000),
    ],
)
async def test_words_find_a_prompt(store: Store, prompt: str, wanted: str) -> None:
    made = await make(store, prompt=prompt)
    assert await found(store, prompt=wanted) == [made]
    assert await found(store, prompt=wanted, negative_prompt="blurry") == [made]


@pytest.mark.parametrize(
    "wanted",
    [
        *("sunrise", "sunset sunrise", '"over sunset"', "sun", "s*", "blurry", "sunset OR dawn"),
        *("C++ AND (", "NOT sunrise", "NEAR(sunset over)", "prompt:sunset", "{prompt} : x"),
        *('"', '""', "*", "!!!", "\0", "(", "🌊", "日", "x" * 10_000, "'; DROP TABLE jobs; --"),
        *("a b " * 3000, "\ud800", "tags : euler", "generation_words"),
    ],
)
async def test_what_is_not_there_is_not_found_and_nothing_breaks(store: Store, wanted: str) -> None:
    await make(store)
    assert await found(store, prompt=wanted) == []


async def test_prompts_are_told_apart(store: Store) -> None:
    first = await make(store, prompt="sea", negative_prompt="blurry")
    second = await make(store, prompt="blurry", negative_prompt="sea")
    assert await found(store, prompt="sea") == [first]
    assert await found(store, negative_prompt="sea") == [second]
    assert await found(store, prompt="sea", negative_prompt="sea") == []


# Values


@pytest.mark.parametrize(
    "sought",
    [
        {"workflow": "people/portrait"},
        {"preset": "fast"},
        {"sampler": "euler"},
        {"seed": 7},
        {"job_id": "A.b:c-1"},
        {"lora": "styles/Add Detail.v2.safetensors"},
        {"lora": "add detail.v2"},
        {"lora": "Add Detail.v2.safetensors"},
        {"model": "sd15"},
        {"model": "sd15", "lora": "styles/add detail.v2", "prompt": "sunset", "seed_max": 7},
    ],
)
async def test_values_find_what_has_them(store: Store, sought: dict[str, Any]) -> None:
    request = {"workflow": "people/portrait", "preset": "fast"}
    made = await make(store, "A.b:c-1", request=request)
    other = {"seed": 8, "sampler": "ddim", "loras": [], "models": []}
    await make(store, "a.b:c-1", request={"workflow": "portrait", "preset": "fas"}, **other)
    assert await found(store, **sought) == [made]


async def test_seeds_are_compared_exactly(store: Store) -> None:
    seeds = [0, 2**53, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1]
    made = [await make(store, seed=seed) for seed in seeds]

    assert await found(store, seed_min=2**53 + 1, seed_max=2**53 + 1) == [made[2]]
    assert await found(store, seed_max=2**53) == [made[1], made[0]]
    assert await found(store, seed_min=2**63) == [made[5], made[4]]
    assert await found(store, seed=2**64 - 1) == [made[5]]
    assert await found(store, seed_min=2**63 - 1, seed_max=2**63, prompt="sunset") == [
        made[4],
        made[3],
    ]


@pytest.mark.parametrize("seed", [None, -1, 2**64, 1.5, "7", True, [7]])
async def test_an_odd_seed_is_remembered_and_in_no_range(store: Store, seed: Any) -> None:
    made = await make(store, seed=seed)
    assert await found(store) == [made]
    assert await found(store, seed_min=0) == []


async def test_no_score_is_no_low_score(store: Store) -> None:
    await make(store)
    assert await found(store, min_score=-1.0) == []


async def test_times_are_those_that_are_told(store: Store) -> None:
    made = [await make(store, end=BEGAN + after) for after in (0, 1, 1000)]
    began = BEGAN / 1000
    assert await found(store, after=began) == [made[2], made[1]]
    assert await found(store, before=began + 0.001) == [made[0]]
    assert await found(store, after=began, before=began + 1, prompt="sunset") == [made[1]]
    assert await found(store, after=began - 0.0005, before=began + 0.0005) == [made[0]]
    assert await found(store, after=1e15) == []
    assert await found(store, before=-1e15) == []


# Pages


@pytest.mark.parametrize(
    "sought", [{}, {"prompt": "sunset"}, {"seed_min": 1}, {"prompt": "sunset", "seed_min": 1}]
)
async def test_pages_meet_while_rows_come_in(store: Store, sought: dict[str, Any]) -> None:
    made = [await make(store) for _ in range(7)]
    seen: list[str] = []
    cursor = None
    while True:
        page, cursor = await store.generations.list(Sought(**sought), limit=3, cursor=cursor)
        seen += [one["job_id"] for one in page]
        await make(store)
        if cursor is None:
            break
    assert seen == made[::-1]


async def test_every_output_of_one_moment_has_a_row(store: Store) -> None:
    await make(store, "a", outputs=3, end=BEGAN)
    await make(store, "b", outputs=2, end=BEGAN)
    page, _ = await store.generations.list(Sought())
    told = [(one["job_id"], one["index"]) for one in page]
    assert told == [("b", 1), ("b", 0), ("a", 2), ("a", 1), ("a", 0)]


# The end


async def test_a_job_that_is_deleted_is_forgotten(store: Store) -> None:
    await make(store, "a", outputs=2)
    await make(store, "b")
    await store.delete("a")
    for sought in ({}, {"prompt": "sunset"}, {"seed_min": 0}, {"seed": 7, "seed_max": 7}):
        assert await found(store, **sought) == ["b"]


async def test_a_record_that_expires_is_remembered(store: Store, hands: Hands) -> None:
    await make(store, "a")
    await store.forget_files("a")
    hands.forward(10)
    assert await store.expire(hands()) == 1
    assert await found(store, prompt="sunset") == ["a"]


async def test_what_is_left_of_a_job_can_be_forgotten(store: Store, hands: Hands) -> None:
    await make(store, "a")
    await store.forget_files("a")
    hands.forward(10)
    await store.expire(hands())
    assert await store.generations.forget("a")
    assert await found(store) == []
    assert not await store.generations.forget("a")


async def test_what_is_old_is_forgotten_in_pieces(store: Store) -> None:
    await make(store, outputs=250, end=BEGAN)
    later = await make(store, end=BEGAN + 1)

    pieces = []
    while forgotten := await store.generations.expire(BEGAN / 1000 + 0.001):
        pieces.append(forgotten)

    assert pieces == [200, 50]
    for sought in ({}, {"prompt": "sunset"}, {"seed_min": 0}):
        assert await found(store, **sought) == [later]


async def test_the_index_is_whole_after_much_coming_and_going(tmp_path: Path) -> None:
    from gateway.jobs.sqlite import SqliteStore

    store = await SqliteStore.open(str(tmp_path / "jobs.db"))
    for number in range(100):
        await make(store, f"n{number}", prompt=f"sunset {number} 日落")
        if number % 10 == 9:
            # Some that are in the index already, and some that are not.
            await store.delete(f"n{number - 5}")
            await store.delete(f"n{number // 2}")
    # What is searched is put into the index first.
    page, _ = await store.generations.list(Sought(prompt="日落"), limit=200)
    assert len(page) == 85
    check = "INSERT INTO generation_words (generation_words, rank) VALUES ('integrity-check', 1)"
    await store._db.run(lambda db: db.execute(check).fetchall())
    await store.close()
