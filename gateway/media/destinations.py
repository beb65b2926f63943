"""Where outputs are uploaded to, and under which names; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any
from urllib.parse import quote

from gateway.media import sidecar_files
from gateway.schemas import (
    UPLOADS,
    AzureBlobUpload,
    Credential,
    GcsUpload,
    HfUpload,
    HttpUpload,
    S3Upload,
    Upload,
)
from gateway.storage import address, credentials, hf_address

_SPECS: dict[str, type[Upload]] = {
    "s3": S3Upload,
    "gcs": GcsUpload,
    "azure_blob_upload": AzureBlobUpload,
    "hf_upload": HfUpload,
    "http_upload": HttpUpload,
}
#: What a PUT's path may hold as it is; a file's name comes from a graph and may hold anything.
_UNESCAPED = "!$&'()*+,;=:@~"


@dataclass(frozen=True)
class Destination:
    """Where the outputs of one job go."""

    #: The request's field that names it.
    field: str
    #: What stands before a file's name for who writes there.
    target: str
    #: What stands there for who is told of it.
    shown: str
    #: Whether a file's name is to be escaped.
    is_escaped: bool
    is_async: bool = False
    presign_s: int | None = None

    @property
    def location(self) -> str:
        """The part of the request that a refusal points at."""
        return "http_upload.url_prefix" if self.field == "http_upload" else self.field

    def url(self, filename: str) -> str:
        """Return what the provider writes to."""
        return self.target + self._written(filename)

    def told(self, filename: str) -> str:
        """Return what answers, errors and logs name: no password, no secret of a query."""
        told = self.shown + self._written(filename)
        return address.shown(told) if "?" in told else told

    def _written(self, filename: str) -> str:
        return quote(filename, safe=_UNESCAPED) if self.is_escaped else filename


def of(fields: Mapping[str, Any], azure_account: str | None = None) -> Destination | None:
    """Return where a request's outputs go; None: into its answer.

    `fields` are those of the request that are stored; `azure_account` is the account's URL.
    """
    name = next((name for name in UPLOADS if fields.get(name) is not None), None)
    if name is None:
        return None
    spec = _SPECS[name].model_validate(fields[name])
    target, shown, is_escaped = _prefixes(spec, azure_account)
    seconds = getattr(spec, "presign_s", None)
    return Destination(name, target, shown, is_escaped, spec.is_async, seconds)


def _prefixes(spec: Upload, azure_account: str | None) -> tuple[str, str, bool]:
    """Return what stands before a name, for the provider and for the caller."""
    match spec:
        case S3Upload():
            url = f"s3://{spec.bucket}/{spec.prefix}"
            return url, url, False
        case GcsUpload():
            url = f"gs://{spec.bucket}/{spec.prefix}"
            return url, url, False
        case AzureBlobUpload():
            path = f"{spec.container}/{spec.blob_prefix}"
            shown = f"{azure_account.rstrip('/')}/{path}" if azure_account else f"az://{path}"
            return f"az://{path}", shown, False
        case HfUpload():
            url = _hugging_face(spec)
            return url, url, True
        case HttpUpload():
            url = f"{spec.url_prefix.removesuffix('/')}/"
            return url, url, True
    raise TypeError(f"no destination for {type(spec).__name__}")


def _hugging_face(spec: HfUpload) -> str:
    kind = "/datasets" if spec.repo_type == "dataset" else ""
    folders = [quote(part) for part in spec.directory.split("/") if part not in ("", ".")]
    revision = quote(spec.revision, safe="")
    parts = [f"{hf_address.HOME}{kind}", spec.repo, "resolve", revision, *folders, ""]
    return "/".join(parts)


def without_user(fields: Mapping[str, Any]) -> tuple[dict[str, Any], list[Credential]]:
    """Take user and password out of http_upload's URL: what a request says is stored and echoed."""
    given = fields.get("http_upload")
    if given is None:
        return dict(fields), []
    bare, found = credentials.taken_out(given["url_prefix"])
    if found is None:
        return dict(fields), []
    pattern = f"{bare.removesuffix('/')}/**"
    return {**fields, "http_upload": {**given, "url_prefix": bare}}, [
        Credential(url_pattern=pattern, auth=found.auth)
    ]


def names(filenames: Iterable[str]) -> list[str]:
    """Return a name for each file; of two that are alike, the later gets a number.

    Nodes may save under one name in different folders: in a bucket they would be one file.
    """
    given = list(filenames)
    taken = set(given)
    used: set[str] = set()
    found = []
    for name in given:
        if name in used:
            name = _free(name, taken)  # noqa: PLW2901 - the name goes on under another
            taken.add(name)
        used.add(name)
        found.append(name)
    return found


def sidecar_names(delivered: Sequence[str]) -> list[str]:
    """Return what the sidecars of files are called; `delivered` are names that all differ."""
    wanted = map(sidecar_files.name_of, delivered)
    return names([*delivered, *wanted])[len(delivered) :]


def _free(name: str, taken: set[str]) -> str:
    path = PurePath(name)
    number = 1
    while (candidate := f"{path.stem}_{number}{path.suffix}") in taken:
        number += 1
    return candidate
