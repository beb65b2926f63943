"""Outputs go where a request says, through a gateway as a process of its own."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest
from PIL import Image
from standardwebhooks import Webhook
from yarl import URL

from tests.acceptance import faulty
from tests.acceptance.conftest import Gateway
from tests.acceptance.faulty import Place, picture
from tests.acceptance.shelves import Shelf
from tests.contract.providers import hub
from tests.contract.providers.servers import ACCOUNT, ACCOUNT_KEY, AZURITE, BUCKET, Servers
from tests.waiting import wait_until

SECRET = base64.b64encode(b"a key of the operator").decode()
PASSWORD = "pl4nted-p4ssword"
TOKEN = "pl4nted-t0ken"
OF_GOOGLE = {"url_pattern": "gs://**", "auth": {"type": "bearer", "token": PASSWORD}}
LOCAL = {"ALLOW_PRIVATE_NETWORKS": "127.0.0.0/8"}


@pytest.fixture(scope="module")
def equipped(
    start: Callable[..., Any], servers: Servers, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    """A gateway whose settings name an S3, a Google account and an Azure account."""
    account = tmp_path_factory.mktemp("google") / "account.json"
    told = {"gcs_base_url": servers.buckets, "disable_oauth": True, "client_email": ""}
    account.write_text(json.dumps({**told, "private_key": "", "private_key_id": "x"}))
    s3 = {"AWS_ACCESS_KEY_ID": "operator", "AWS_SECRET_ACCESS_KEY": PASSWORD}
    with start(
        **s3,
        AWS_REGION="us-east-1",
        AWS_ENDPOINT_URL=servers.buckets,
        GOOGLE_APPLICATION_CREDENTIALS=str(account),
        AZURE_STORAGE_CONNECTION_STRING=_azure(servers) if AZURITE.exists() else "",
    ) as found:
        yield found


def _azure(servers: Servers) -> str:
    account = f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={ACCOUNT_KEY}"
    return f"{account};BlobEndpoint={servers.azurite};"


def to(prefix: str, **more: Any) -> dict[str, Any]:
    return {"http_upload": {"url_prefix": prefix, **more}}


async def over(gateway: Gateway, job_id: str) -> dict[str, Any]:
    async def ended() -> dict[str, Any] | None:
        found = (await gateway.ask(f"/jobs/{job_id}")).json
        return found if found["state"] in ("succeeded", "failed") else None

    return dict(await wait_until(ended, description="the job is over"))


async def test_images_holds_urls(gateway: Gateway, shelf: Shelf) -> None:
    graph = picture(1)
    graph["3"] = {
        "class_type": "SaveImage",
        "inputs": {"images": ["1", 0], "filename_prefix": "sub/q"},
    }
    body = {"prompt": graph, "id": "urls", **to(f"{shelf.url}/out/")}
    answer = (await gateway.ask(body=body)).json
    assert answer["filenames"] == ["urls_p_00001_.png", "q_00001_.png"]
    assert answer["images"] == [f"{shelf.url}/out/{name}" for name in answer["filenames"]]
    assert [one["uploaded_to"] for one in answer["outputs"]] == answer["images"]
    assert answer["http_upload"] == {"url_prefix": f"{shelf.url}/out/"}
    assert answer["stats"]["upload_time"] > 0
    assert answer["stats"]["total_time"] >= answer["stats"]["upload_time"]
    assert set(shelf.types.values()) == {"image/png"}
    assert shelf.picture("/out/urls_p_00001_.png").size == (16, 16)
    record = (await gateway.ask("/jobs/urls")).json
    assert record["outputs"] == answer["outputs"]
    kept = await gateway.ask(answer["outputs"][0]["url"])
    assert kept.raw == shelf.files["/out/urls_p_00001_.png"]
    metrics = (await gateway.ask("/metrics")).raw.decode()
    assert 'comfy_gateway_upload_bytes_total{provider="http"}' in metrics


async def test_two_files_of_one_name(gateway: Gateway, shelf: Shelf) -> None:
    graph = picture(2)
    for node, folder in (("3", "a"), ("4", "b")):
        inputs = {"images": ["1", 0], "filename_prefix": f"{folder}/same"}
        graph[node] = {"class_type": "SaveImage", "inputs": inputs}
    answer = (await gateway.ask(body={"prompt": graph, **to(shelf.url)})).json
    assert answer["filenames"][1:] == ["same_00001_.png"] * 2
    names = [url.rpartition("/")[2] for url in answer["images"][1:]]
    assert names == ["same_00001_.png", "same_00001__1.png"]
    assert len(shelf.files) == 3


async def test_what_is_uploaded_is_converted(gateway: Gateway, shelf: Shelf) -> None:
    body = {"prompt": picture(3), "convert_output": {"format": "webp"}, **to(shelf.url)}
    answer = (await gateway.ask(body=body)).json
    [path] = shelf.files
    assert answer["images"] == [shelf.url + path]
    assert path.endswith(".webp")
    assert shelf.types[path] == "image/webp"
    assert shelf.picture(path).format == "WEBP"


async def test_bytes_for_who_asks_for_bytes(gateway: Gateway, shelf: Shelf) -> None:
    answer = await gateway.ask(
        body={"prompt": picture(4), **to(shelf.url)}, headers={"Accept": "image/png"}
    )
    assert (answer.status, answer.headers["Content-Type"]) == (200, "image/png")
    assert list(shelf.files.values()) == [answer.raw]


async def test_async_is_answered_at_once(gateway: Gateway, shelf: Shelf) -> None:
    shelf.may_answer.clear()
    body = {"prompt": picture(5), "id": "later", **to(shelf.url, **{"async": True})}
    answer = await gateway.ask(body=body)
    assert (answer.status, answer.headers["Location"]) == (202, "/jobs/later")
    assert "Preference-Applied" not in answer.headers
    assert (answer.json["id"], answer.json["status"]) == ("later", "ok")
    assert answer.json["http_upload"] == {"url_prefix": shelf.url, "async": True}
    await wait_until(lambda: shelf.asked, description="the upload is under way")
    assert (await gateway.ask("/jobs/later")).json["state"] == "delivering"
    shelf.may_answer.set()
    record = await over(gateway, "later")
    assert record["state"] == "succeeded"
    assert record["outputs"][0]["uploaded_to"] == f"{shelf.url}/later_p_00001_.png"
    joined = await gateway.ask(body=body)
    assert (joined.status, joined.json["images"]) == (200, [f"{shelf.url}/later_p_00001_.png"])


async def test_an_async_upload_outlives_its_client(gateway: Gateway, shelf: Shelf) -> None:
    body = {"prompt": picture(6), **to(shelf.url, **{"async": True})}
    answer = await gateway.ask(body=body)
    assert answer.status == 202
    assert (await over(gateway, answer.json["id"]))["state"] == "succeeded"


async def test_a_preference_is_told_to_be_applied(gateway: Gateway, shelf: Shelf) -> None:
    answer = await gateway.ask(
        body={"prompt": picture(7), **to(shelf.url)}, headers={"Prefer": "respond-async"}
    )
    assert (answer.status, answer.headers["Preference-Applied"]) == (202, "respond-async")
    await over(gateway, answer.json["id"])


async def test_a_failed_upload_leaves_the_outputs_here(gateway: Gateway, shelf: Shelf) -> None:
    shelf.status = 403
    body = {
        "prompt": picture(8),
        "id": "refused",
        "convert_output": {"format": "webp"},
        **to(f"{shelf.url}/x?token={TOKEN}"),
    }
    answer = await gateway.ask(body=body)
    told = answer.json
    assert (answer.status, told["code"]) == (502, "upload_failed")
    assert "403" in told["error"]
    assert "/jobs/refused" in told["hint"]
    assert TOKEN not in json.dumps(told)
    record = (await gateway.ask("/jobs/refused")).json
    assert (record["state"], record["error"]["code"]) == ("failed", "upload_failed")
    [output] = record["outputs"]
    assert output["content_type"] == "image/webp"
    kept = await gateway.ask(output["url"])
    assert Image.open(io.BytesIO(kept.raw)).format == "WEBP"


async def test_user_and_password_are_used_and_not_told(gateway: Gateway, shelf: Shelf) -> None:
    prefix = shelf.url.replace("://", f"://ann:{PASSWORD}@")
    answer = await gateway.ask(body={"prompt": picture(9), "id": "basic", **to(prefix)})
    assert answer.json["images"] == [f"{shelf.url}/basic_p_00001_.png"]
    credentials = base64.b64encode(f"ann:{PASSWORD}".encode()).decode()
    assert list(shelf.sent.values()) == [f"Basic {credentials}"]
    record = await gateway.ask("/jobs/basic")
    assert PASSWORD.encode() not in answer.raw + record.raw
    for path in (gateway.folder, *gateway.folder.rglob("*")):
        if path.is_file():
            assert PASSWORD.encode() not in path.read_bytes(), path


def s3_keys(endpoint: str) -> dict[str, Any]:
    auth = {"access_key_id": "caller", "secret_access_key": PASSWORD, "region": "us-east-1"}
    return {"url_pattern": "s3://**", "auth": {"type": "s3", "endpoint": endpoint, **auth}}


async def test_a_bucket_with_the_keys_of_the_request(gateway: Gateway, servers: Servers) -> None:
    body = {
        "prompt": picture(11),
        "id": "stored",
        "s3": {"bucket": BUCKET, "prefix": "today/a-", "presign_s": 60},
        "credentials": [s3_keys(servers.buckets)],
    }
    answer = (await gateway.ask(body=body)).json
    assert answer["images"] == [f"s3://{BUCKET}/today/a-stored_p_00001_.png"], answer
    [link] = answer["presigned_urls"]
    assert link.startswith(f"{servers.buckets}/{BUCKET}/today/a-stored_p_00001_.png?")
    assert "X-Amz-Expires=60" in link
    await assert_leads_to_a_picture(link)
    record = (await gateway.ask("/jobs/stored")).json
    assert record["presigned_urls"] == [link]
    assert PASSWORD not in json.dumps([answer, record])
    log = (gateway.folder / "gateway.log").read_text()
    # Other links are in it, too: what counts is that the signature of this one is not.
    assert parse_qs(urlsplit(link).query)["X-Amz-Signature"][0] not in log
    assert PASSWORD not in log


async def assert_leads_to_a_picture(link: str) -> None:
    async with aiohttp.ClientSession() as session, session.get(URL(link, encoded=True)) as found:
        assert (found.status, found.content_type) == (200, "image/png")
        assert Image.open(io.BytesIO(await found.read())).size == (16, 16)


async def test_a_bucket_with_the_keys_of_the_settings(equipped: Gateway) -> None:
    wishes = {"s3": {"bucket": BUCKET, "prefix": "own/", "presign_s": 60}}
    answer = (await equipped.ask(body={"prompt": picture(1), "id": "own", **wishes})).json
    assert answer["images"] == [f"s3://{BUCKET}/own/own_p_00001_.png"], answer
    await assert_leads_to_a_picture(answer["presigned_urls"][0])


async def test_a_bucket_of_google(equipped: Gateway) -> None:
    wishes = {"gcs": {"bucket": BUCKET, "prefix": "g/"}, "credentials": [OF_GOOGLE]}
    answer = (await equipped.ask(body={"prompt": picture(2), "id": "google", **wishes})).json
    assert answer["images"] == [f"gs://{BUCKET}/g/google_p_00001_.png"], answer
    assert answer["warnings"] == []


async def test_a_link_that_cannot_be_signed_is_a_warning(equipped: Gateway) -> None:
    wishes = {"gcs": {"bucket": BUCKET, "prefix": "g/", "presign_s": 60}}
    body = {"prompt": picture(3), "id": "unsigned", "credentials": [OF_GOOGLE], **wishes}
    answer = (await equipped.ask(body=body)).json
    assert answer["images"] == [f"gs://{BUCKET}/g/unsigned_p_00001_.png"], answer
    assert "presigned_urls" not in answer
    assert answer["warnings"][0].startswith("No link to gs://")


@pytest.mark.skipif(not AZURITE.exists(), reason="`bash run.sh test` installs Azurite")
async def test_a_container_of_azure(equipped: Gateway, servers: Servers) -> None:
    wishes = {"azure_blob_upload": {"container": BUCKET, "blob_prefix": "a/", "presign_s": 60}}
    answer = (await equipped.ask(body={"prompt": picture(4), "id": "blob", **wishes})).json
    assert answer["images"] == [f"{servers.azurite}/{BUCKET}/a/blob_p_00001_.png"], answer
    await assert_leads_to_a_picture(answer["presigned_urls"][0])


async def test_a_repository_of_hugging_face(place: Place) -> None:
    async with hub.serving(PASSWORD) as found:
        repository = found.repository("owner/name")
        settings = {"HF_ENDPOINT": found.endpoint, "HF_TOKEN": PASSWORD, **LOCAL}
        async with faulty.gateway(place, **settings) as gateway:
            wishes = {"hf_upload": {"repo": "owner/name", "directory": "/pictures"}}
            answer = await gateway.prompt(picture(1), id="hub", **wishes)
    path = "pictures/hub_p_00001_.png"
    url = f"https://huggingface.co/owner/name/resolve/main/{path}"
    assert answer.body["images"] == [url], answer.body
    assert Image.open(io.BytesIO(repository.commits[-1][path])).size == (16, 16)
    assert PASSWORD not in (place.folder / "gateway.log").read_text()


async def test_a_bucket_that_is_not_there(gateway: Gateway, servers: Servers) -> None:
    body = {
        "prompt": picture(12),
        "s3": {"bucket": "nowhere", "prefix": ""},
        "credentials": [s3_keys(servers.buckets)],
    }
    answer = await gateway.ask(body=body)
    assert (answer.status, answer.json["code"]) == (502, "upload_failed")
    assert "s3://nowhere/" in answer.json["error"]
    record = (await gateway.ask(f"/jobs/{answer.json['id']}")).json
    assert (await gateway.ask(record["outputs"][0]["url"])).status == 200


async def test_a_bucket_without_keys(gateway: Gateway) -> None:
    answer = await gateway.ask(
        body={"prompt": picture(13), "s3": {"bucket": "pictures", "prefix": ""}}
    )
    assert (answer.status, answer.json["code"]) == (422, "destination_not_configured")
    assert answer.json["location"] == "s3"


async def test_system_events_tell_of_uploads(place: Place, shelf: Shelf) -> None:
    settings = {
        "SYSTEM_WEBHOOK_URL": f"{shelf.url}/events",
        "SYSTEM_WEBHOOK_EVENTS": "file_uploaded",
        "WEBHOOK_SECRET": f"whsec_{SECRET.rstrip('=')}",
        "SYSTEM_META_pod": "7",
        **LOCAL,
    }
    async with faulty.gateway(place, **settings) as found:
        answer = await found.prompt(picture(1), **to(shelf.url))
        await wait_until(lambda: shelf.events, description="the event was heard")
    headers, body = shelf.events[0]
    told = Webhook(SECRET).verify(body, headers)
    assert (told["event"], told["metadata"]) == ("storage.file_uploaded", {"pod": "7"})
    assert told["data"]["url"] == answer.body["images"][0]
    assert told["data"]["size"] == answer.body["outputs"][0]["size"]
    assert told["data"].keys() == {"url", "local_path", "size", "duration"}


async def test_an_upload_goes_on_after_a_restart(place: Place, shelf: Shelf) -> None:
    shelf.may_answer.clear()
    async with faulty.gateway(place, **LOCAL) as found:
        await found.prompt(picture(1), id="kept", **to(shelf.url, **{"async": True}))
        await wait_until(lambda: shelf.asked, description="the upload is under way")
        await found.die()
    shelf.may_answer.set()
    async with faulty.gateway(place, **LOCAL) as found:
        job = await found.until_state("kept", "succeeded", "failed")
        assert job["outputs"][0]["uploaded_to"] == f"{shelf.url}/kept_p_00001_.png", job
    assert len(place.written()) == 1
    assert "/kept_p_00001_.png" in shelf.files


async def test_an_upload_that_needs_lost_credentials_fails(place: Place, shelf: Shelf) -> None:
    bearer = {"url_pattern": f"{shelf.url}/**", "auth": {"type": "bearer", "token": PASSWORD}}
    shelf.may_answer.clear()
    uploads = {
        "lost": {"credentials": [bearer]},
        "unused": {"credentials": [bearer | {"url_pattern": "https://other/**"}]},
    }
    async with faulty.gateway(place, **LOCAL) as found:
        for job_id, more in uploads.items():
            wishes = to(shelf.url, **{"async": True})
            await found.prompt(picture(1), id=job_id, **wishes, **more)
        await wait_until(lambda: len(shelf.asked) == 2, description="both are under way")
        await found.die()
    shelf.may_answer.set()
    async with faulty.gateway(place, **LOCAL) as found:
        lost = await found.until_state("lost", "succeeded", "failed")
        assert lost["error"]["code"] == "credentials_lost"
        assert (await found.ask("GET", lost["outputs"][0]["url"])).status == 200
        unused = await found.until_state("unused", "succeeded", "failed")
        assert unused["state"] == "succeeded"


async def test_a_cancelled_upload_stops(gateway: Gateway, shelf: Shelf) -> None:
    shelf.may_answer.clear()
    body = {"prompt": picture(10), "id": "stopped", **to(shelf.url, **{"async": True})}
    await gateway.ask(body=body)
    await wait_until(lambda: shelf.asked, description="the upload is under way")
    await gateway.ask("/jobs/stopped/cancel", method="POST")

    async def is_cancelled() -> bool:
        return (await gateway.ask("/jobs/stopped")).json["state"] == "cancelled"

    await wait_until(is_cancelled, description="the job is cancelled")
    shelf.may_answer.set()
    assert shelf.files == {}
