"""The command line follows a job over a real server of events, one that breaks off as well."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from gateway.cli.client import Address, Client, Refused, Unreached
from gateway.cli.failure import CommandFailed
from gateway.cli.follow import Following, JobEvent, events, insisted
from gateway.cli.watch import Watch, Wishes
from tests.docs.running import free_port
from tests.listening import listening
from tests.waiting import wait_until

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
RECORD = {
    "id": "job/1",
    "state": "succeeded",
    "estimate": {"wait": 3, "duration": 1},
    "outputs": [{"index": 0, "url": "/jobs/job%2F1/outputs/0"}],
}


def sent(number: int, kind: str, **data: Any) -> bytes:
    return f"id: {number}\nevent: {kind}\ndata: {json.dumps(data)}\n\n".encode()


class Gateway:
    """Answers each connection with the next of `answers`, and the last one ever after.

    A stream is cut off where another answer follows.
    """

    def __init__(self, *answers: bytes | web.Response) -> None:
        self.answers = list(answers)
        self.asked: list[web.Request] = []

    async def events(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        is_cut = len(self.answers) > 1
        answer = self.answers.pop(0) if is_cut else self.answers[0]
        if not isinstance(answer, bytes):
            return answer
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for byte in range(0, len(answer), 7):
            await response.write(answer[byte : byte + 7])
        if is_cut and request.transport is not None:
            request.transport.abort()
        return response

    async def record(self, _: web.Request) -> web.Response:
        return web.json_response(RECORD)

    @property
    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/jobs/{id}/events", self.events),
            web.get("/jobs/{id}", self.record),
        ]

    @contextlib.asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        async with listening(*self.routes) as url, Client.open(Address(url)) as client:
            yield client


async def followed(client: Client, **options: Any) -> list[JobEvent]:
    following = Following("job/1", **options)
    return [event async for event in events(client, following)]


def kinds(found: list[JobEvent]) -> list[tuple[str, str | None]]:
    return [(event.kind, event.id) for event in found]


class TestEvents:
    async def test_up_to_the_terminal_state(self) -> None:
        stream = sent(1, "state", state="queued") + b": keep-alive\n\n" + sent(2, "new", x=1)
        gateway = Gateway(stream + b"data: no json\n\n" + sent(3, "state", state="failed"))
        async with gateway.client() as client:
            found = await followed(client)
        assert kinds(found) == [("state", "1"), ("new", "2"), ("state", "3")]
        assert [request.raw_path for request in gateway.asked] == ["/jobs/job%2F1/events"]

    async def test_a_cut_connection_goes_on_after_the_last_whole_event(self) -> None:
        begun = sent(1, "state", state="running") + sent(2, "progress", value=0.5)
        gateway = Gateway(begun + sent(3, "progress")[:-4], sent(9, "state", state="succeeded"))
        lost: list[bool] = []
        async with gateway.client() as client:
            found = await followed(client, on_lost=lambda: lost.append(True), previews=True)
        assert kinds(found) == [("state", "1"), ("progress", "2"), ("state", "9")]
        assert [request.headers.get("Last-Event-ID") for request in gateway.asked] == [None, "2"]
        assert [request.query["previews"] for request in gateway.asked] == ["true", "true"]
        assert len(lost) == 1

    async def test_a_gateway_that_restarts(self) -> None:
        gateway = Gateway(
            sent(1, "state", state="queued"),
            web.Response(status=502, text="<html>no gateway</html>"),
            web.json_response({"error": "Draining.", "code": "draining"}, status=503),
            sent(9, "state", state="succeeded"),
        )
        lost: list[bool] = []
        async with gateway.client() as client:
            found = await followed(client, on_lost=lambda: lost.append(True))
        assert kinds(found) == [("state", "1"), ("state", "9")]
        assert (len(gateway.asked), len(lost)) == (4, 1)

    async def test_one_that_is_away_for_a_while(self) -> None:
        url = f"http://127.0.0.1:{free_port()}"
        lost: list[bool] = []
        async with Client.open(Address(url)) as client:
            with pytest.raises(Unreached):
                await followed(client)
            waiting = asyncio.create_task(
                followed(client, is_known=True, on_lost=lambda: lost.append(True))
            )
            await wait_until(lambda: lost, description="the first try failed")
            runner = web.AppRunner(web.Application())
            runner.app.add_routes(Gateway(sent(1, "state", state="cancelled")).routes)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", int(url.rpartition(":")[2])).start()
            assert kinds(await waiting) == [("state", "1")]
            await runner.cleanup()

    async def test_the_record_of_a_job_that_is_over_outlives_a_restart_too(self) -> None:
        answers: list[Any] = [Unreached("gone"), Refused(503, {}), RECORD]
        lost: list[bool] = []

        async def ask() -> dict[str, Any]:
            answer = answers.pop(0)
            if isinstance(answer, CommandFailed):
                raise answer
            return answer

        assert await insisted(ask, lambda: lost.append(True)) == RECORD
        assert len(lost) == 1

    async def test_a_record_that_is_refused_is_asked_for_once(self) -> None:
        async with Gateway().client() as client:
            with pytest.raises(Refused, match="404"):
                await insisted(lambda: client.ask("GET", "/nothing"), lambda: None)

    @pytest.mark.parametrize(
        ("body", "status", "told"),
        [
            ({"error": "There is no job.", "code": "job_not_found"}, 404, "There is no job."),
            ({"error": "No such route.", "code": "not_found"}, 404, "has no live events"),
            ({}, 404, "has no live events"),
            ({"error": "No key.", "code": "unauthorized"}, 401, "No key."),
            ({"error": "Draining.", "code": "draining"}, 503, "Draining."),
            ({"html": "a page to log in on"}, 200, "application/json, and no events"),
        ],
    )
    async def test_what_is_no_stream_is_told(
        self, body: dict[str, Any], status: int, told: str
    ) -> None:
        gateway = Gateway(web.json_response(body, status=status))
        async with gateway.client() as client:
            with pytest.raises(CommandFailed, match=told):
                await followed(client)

    async def test_a_gateway_that_has_no_more_to_tell(self) -> None:
        gateway = Gateway(sent(1, "state", state="running"), web.Response(status=204))
        async with gateway.client() as client:
            assert kinds(await followed(client)) == [("state", "1")]

    async def test_a_job_that_is_forgotten_meanwhile(self) -> None:
        gone = web.json_response({"error": "Gone.", "code": "job_not_found"}, status=404)
        gateway = Gateway(sent(1, "state", state="queued"), gone)
        async with gateway.client() as client:
            with pytest.raises(Refused, match=r"Gone\."):
                await followed(client)


class Screen:
    def __init__(self) -> None:
        self.shown: list[dict[str, Any]] = []
        self.said: list[str] = []
        self.notes: list[str] = []

    def event(self, event: JobEvent) -> None: ...

    def show(self, job: dict[str, Any]) -> None:
        self.shown.append(job)

    def say(self, line: str) -> None:
        self.said.append(line)

    def note(self, line: str) -> None:
        self.notes.append(line)


class TestWatch:
    async def test_what_a_screen_gets(self, tmp_path: Path) -> None:
        picture = {"content_type": "image/jpeg", "data_base64": base64.b64encode(b"jpeg").decode()}
        output = RECORD["outputs"][0]
        stream = (
            sent(0, "progress", value=0.1)
            + sent(1, "state", state="queued", position=2)
            + sent(2, "state", state="running", attempt=1)
            + sent(3, "log", level="info", message="\x1b[31m 10%\r 20%\x07")
            + sent(4, "progress", value=0.5, class_type="KSampler")
            + sent(5, "preview", **picture)
            + sent(6, "preview", data_base64="%", content_type="image/jpeg")
            + sent(7, "output", filename="a.png")
        )
        gateway = Gateway(
            stream + 2 * sent(8, "output", **output) + sent(9, "state", state="succeeded")
        )
        screen, preview = Screen(), tmp_path / "new" / "now.jpg"
        async with gateway.client() as client:
            record = await Watch(client, screen, Wishes(logs=True, preview=preview)).run("job/1")
            url = client.url
        assert record == RECORD
        assert [(job["state"], job.get("position")) for job in screen.shown] == [
            ("queued", 2),
            ("running", None),
            ("running", None),
            ("succeeded", None),
        ]
        assert screen.shown[2]["progress"] == {"value": 0.5, "class_type": "KSampler"}
        assert screen.said == [" 20%", f"{url}{output['url']}"]
        assert preview.read_bytes() == b"jpeg"
        assert list(preview.parent.iterdir()) == [preview]
        assert [job.get("estimate") for job in screen.shown] == [RECORD["estimate"], *[None] * 3]
        assert screen.notes == []

    async def test_a_preview_that_cannot_be_saved_is_told(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        preview = {"content_type": "image/jpeg", "data_base64": "AAAA"}
        gateway = Gateway(sent(1, "preview", **preview))
        wishes = Wishes(preview=tmp_path / "file" / "now.jpg")
        async with gateway.client() as client:
            with pytest.raises(CommandFailed, match=r"now\.jpg"):
                await Watch(client, Screen(), wishes).run("job/1")
