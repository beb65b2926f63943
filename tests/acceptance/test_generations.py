"""GET /generations through a real gateway: what was made is found, and what cannot be is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest

from tests.acceptance.conftest import Answer, Gateway, refused
from tests.acceptance.graphs import empty_image
from tests.sampling import put_model, sampler
from tests.waiting import wait_until

PROMPTS = {
    "first": ("golden sunset over C++ mountains", 1),
    "second": ("sunset at the sea, café", 2**64 - 1),
    "third": ("a cat 🌅 夕日", 3),
}


@pytest.fixture(scope="module")
def equipped(
    start: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    models = tmp_path_factory.mktemp("models")
    put_model(models)
    with start(MODEL_DIR=str(models)) as found:
        yield found


@pytest.fixture
async def filled(equipped: Gateway) -> Gateway:
    """A gateway that has made three pictures, each in a job of its own."""
    for job_id, (prompt, seed) in PROMPTS.items():
        # Again, it joins the job that is there.
        graph = sampler(1, seed)
        graph["6"]["inputs"]["text"] = prompt
        made = await equipped.ask(body={"id": job_id, "prompt": graph})
        assert made.status == 200, made.raw
    return equipped


async def asked(gateway: Gateway, query: str = "") -> Answer:
    return await gateway.ask(f"/generations?{query}")


def made_by(answer: Answer) -> list[str]:
    assert answer.status == 200, answer.raw
    ids = [one["job_id"] for one in answer.json["generations"]]
    return [job_id for job_id in ids if job_id in PROMPTS]


async def test_a_row_is_what_stands_beside_the_picture(filled: Gateway) -> None:
    answer = await asked(filled, "job_id=second")
    beside = await filled.ask("/jobs/second/outputs/0/metadata")
    assert answer.json["generations"] == [beside.json]
    assert beside.json["seed"] == 2**64 - 1


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["third", "second", "first"]),
        ("prompt=sunset", ["second", "first"]),
        ("prompt=SUNSET%20cafe", ["second"]),
        ('prompt="golden%20sunset"', ["first"]),
        ("prompt=sun*", ["second", "first"]),
        ("prompt=%E5%A4%95%E6%97%A5", ["third"]),
        ("prompt=%F0%9F%8C%85", ["third"]),
        ("prompt=C%2B%2B", ["first"]),
        ("prompt=&negative_prompt=b", ["third", "second", "first"]),
        ("seed=18446744073709551615", ["second"]),
        ("seed_min=2&seed_max=3", ["third"]),
        ("model=model&sampler=euler&seed_max=2", ["first"]),
        ("lora=none", []),
        ("workflow=none", []),
        ("preset=none", []),
        ("min_score=0", []),
        ("after=2001-01-01&before=2100-01-01T00:00:00%2B02:00", ["third", "second", "first"]),
        ("after=2001-01-01T00:00:00+02:00", ["third", "second", "first"]),
        ("before=0", []),
    ],
)
async def test_rows_are_found(filled: Gateway, query: str, found: list[str]) -> None:
    assert made_by(await asked(filled, query)) == found


@pytest.mark.parametrize(
    "prompt",
    [
        *("C++ AND (", '"', '"""', "*", "!!!", "\0", "'; DROP TABLE generations; --", "a OR b"),
        *("NEAR(a, b)", "{prompt} : sunset", "prompt:sunset", "^sunset -sea", "\ud800", "😀" * 99),
        "sunset " * 900,
        "夕日" * 3000,
    ],
)
async def test_nothing_that_is_typed_breaks_the_search(filled: Gateway, prompt: str) -> None:
    answer = await asked(filled, f"prompt={quote(prompt, errors='surrogatepass')}")
    assert answer.status == 200, answer.raw


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("promt=sunset", "prompt"),
        ("x=1", "seed_min"),
        ("seed=-1", "0 to 18446744073709551615"),
        ("seed=1e3", "0 to 18446744073709551615"),
        ("seed_max=18446744073709551616", "18446744073709551615"),
        ("seed_min=5&seed_max=4", "seed_max"),
        ("after=2026-02-01&before=2026-01-01", "before"),
        ("min_score=high", "number"),
        ("min_score=nan", "number"),
        ("after=yesterday", "2026-01-31T12:00:00Z"),
        ("after=inf", "seconds since 1970"),
        ("before=99999999999999", "2026-01-31T12:00:00Z"),
        ("prompt=a&prompt=b", "more than once"),
        ("limit=0", "1 to 200"),
        ("cursor=x", "next_cursor"),
    ],
)
async def test_what_cannot_be_looked_for_is_refused(filled: Gateway, query: str, says: str) -> None:
    refused(await asked(filled, query), 422, "invalid_request", says)


async def test_pages_are_joined_by_their_cursors(filled: Gateway) -> None:
    seen, cursor = [], ""
    while True:
        answer = await asked(filled, f"limit=1&prompt=sun*{cursor}")
        seen += made_by(answer)
        if "next_cursor" not in answer.json:
            break
        cursor = f"&cursor={answer.json['next_cursor']}"
    assert seen == ["second", "first"]


async def test_a_picture_that_nobody_drew_is_remembered_too(filled: Gateway) -> None:
    await filled.ask(body={"id": "plain", "prompt": empty_image()})
    row = (await asked(filled, "job_id=plain")).json["generations"][0]
    assert (row["prompt"], row["width"], row["filename"][:5]) == (None, 8, "plain")


async def test_an_anonymous_job_is_there_as_soon_as_it_is_answered(filled: Gateway) -> None:
    answer = await filled.ask(body={"prompt": empty_image()})
    found = await asked(filled, f"job_id={answer.json['id']}")
    assert len(found.json["generations"]) == 1


async def test_metadata_false_and_a_deleted_job_leave_no_row(filled: Gateway) -> None:
    await filled.ask(body={"id": "unseen", "prompt": empty_image(), "metadata": False})
    await filled.ask(body={"id": "forgotten", "prompt": empty_image()})
    assert (await asked(filled, "job_id=forgotten")).json["generations"]
    await filled.ask("/jobs/forgotten", method="DELETE")
    for job_id in ("unseen", "forgotten"):
        assert (await asked(filled, f"job_id={job_id}")).json["generations"] == []


async def test_rows_outlive_their_jobs_and_go_when_asked(start: Callable[..., Any]) -> None:
    with start(JOB_TTL_S="0", OUTPUT_TTL_S="0") as brief:
        for job_id in ("a", "b"):
            await brief.ask(body={"id": job_id, "prompt": empty_image()})

        async def is_expired() -> bool:
            found = [await brief.ask(f"/jobs/{job_id}") for job_id in ("a", "b")]
            return all(one.status == 404 for one in found)

        await wait_until(is_expired, description="the jobs' records are gone")
        assert len((await asked(brief)).json["generations"]) == 2
        assert (await brief.ask("/jobs/b", method="DELETE")).status == 204
        refused(await brief.ask("/jobs/b", method="DELETE"), 404, "job_not_found")
        assert [one["job_id"] for one in (await asked(brief)).json["generations"]] == ["a"]


async def test_rows_go_when_their_time_is_over(start: Callable[..., Any]) -> None:
    with start(OUTPUT_TTL_S="0", GENERATION_TTL_S="0.5") as brief:
        await brief.ask(body={"id": "a", "prompt": empty_image()})

        async def is_forgotten() -> bool:
            return (await asked(brief)).json["generations"] == []

        await wait_until(is_forgotten, description="the row is gone")
        assert (await brief.ask("/jobs/a")).status == 200


async def test_none_is_kept_where_none_is_wanted(start: Callable[..., Any]) -> None:
    with start(GENERATION_TTL_S="0") as forgetful:
        await forgetful.ask(body={"id": "a", "prompt": empty_image()})
        assert (await asked(forgetful)).json == {"generations": []}
