"""The wire contract of models and their cache, as pydantic models."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field, RootModel

from gateway.schemas import Auth, Wire


class DownloadRequest(Wire):
    """`POST /download`."""

    url: str = Field(description="http, https, s3, gs, az, hf or file.")
    model_type: str = Field(description="A folder of models, as GET /models names them.")
    filename: str | None = Field(None, description="Its name there; the cache's name otherwise.")
    wait: bool = Field(False, description="Answer when the file is there.")
    auth: Auth | None = None
    sha256: str | None = Field(
        None, pattern="^[0-9a-fA-F]{64}$", description="Hex; what comes otherwise is thrown away."
    )


class DownloadAnswer(BaseModel):
    """Answer of `POST /download`."""

    url: str = Field(description="As sent, without user, password and secret values.")
    model_type: str
    filename: str | None = Field(None, description="The name that ComfyUI lists.")
    status: Literal["started", "completed"]
    size: int | None = Field(None, description="Bytes.")
    duration: float | None = Field(None, description="Seconds.")


class Download(BaseModel):
    """One download, running or ended lately."""

    url: str = Field(description="Without user, password and secret values.")
    filename: str = Field(description="The name in the cache.")
    state: Literal["wanted", "fetching", "verifying", "present", "failed"]
    bytes: int = Field(description="How many are here.")
    total: int | None = Field(None, description="How many there will be, where that is known.")
    rate: float = Field(description="Bytes a second.")
    eta_s: float | None = Field(None, description="Seconds that it will take still.")
    started_at: str
    error: str | None = None


class DownloadList(BaseModel):
    """`GET /downloads`."""

    downloads: list[Download]


class CacheFile(BaseModel):
    """One file of the cache."""

    name: str
    url: str | None = Field(None, description="Without user, password and secret values.")
    size: int = Field(description="Bytes.")
    last_used: str = Field(description="When a job used it last.")
    pins: list[str] = Field(description="The jobs and downloads that need it now.")
    links: list[str] = Field(description="Where ComfyUI sees it: folder/name.")
    needs_credentials: bool = Field(
        description="Fetched with a caller's own credentials: who gives none its source accepts "
        "does not get it."
    )


class CacheList(BaseModel):
    """`GET /cache`."""

    files: list[CacheFile]
    size: int = Field(description="Bytes of all files.")
    limit: int | None = Field(None, description="Bytes that they may have; null: any.")


class ModelList(RootModel[dict[str, list[str]]]):
    """`GET /models`: folder -> names of its files."""
