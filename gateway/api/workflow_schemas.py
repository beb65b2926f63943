"""The wire contract of named workflows and tasks as pydantic models: what a client gets back."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from gateway.api.answers import AcceptedAnswer, JobError, Node, Output, Progress, PromptAnswer


class MistakeAnswer(BaseModel):
    """What is wrong in a file of WORKFLOW_DIR; lines and columns count from 1."""

    file: str
    line: int
    column: int
    message: str


class MissingModel(BaseModel):
    """A model that ComfyUI did not list when last asked."""

    folder: str
    name: str


class WorkflowAnswer(BaseModel):
    """A named workflow; one that never was right has a name and mistakes alone."""

    name: str
    description: str | None = None
    route: str | None = Field(None, description="A second address of it.")
    parameters: dict[str, Any] | None = Field(None, description="JSON Schema of `input`.")
    metadata: dict[str, Any] | None = Field(None, description="`_workflow_metadata` of its file.")
    example: dict[str, Any] | None = Field(None, description="An `input`.")
    preset: str | None = Field(None, description="Applied where a request names none.")
    version: str | None = Field(None, description="Another once its files are.")
    available: bool | None = Field(
        None, description="Whether ComfyUI has what it needs; null before the first ready."
    )
    waits_for: str | None = Field(
        None, description="Why a workflow in the format of the canvas is not in service yet."
    )
    missing_nodes: list[str]
    missing_models: list[MissingModel]
    mistakes: list[MistakeAnswer] = Field(
        description="With these, the last good version stays in service."
    )
    warnings: list[str] = Field(description="Of its conversion from the format of the canvas.")


class WorkflowList(BaseModel):
    """`GET /workflows`."""

    workflows: list[WorkflowAnswer]
    mistakes: list[MistakeAnswer] = Field(
        description="All of WORKFLOW_DIR, also those of files that are of no one workflow."
    )


class OneWorkflowAnswer(WorkflowAnswer):
    """`GET /workflow/{name}`."""

    prompt: dict[str, Node] | None = Field(description="Its graph; null where Python makes it.")


class NamedAnswer(PromptAnswer):
    """200 of `POST /workflow/{name}`: as of `POST /prompt`, and the values that were used."""

    workflow: str
    input: dict[str, Any] = Field(description="Of every parameter; a seed as it was drawn.")


class NamedAcceptedAnswer(AcceptedAnswer):
    """202 of `POST /workflow/{name}`: the job is on disk."""

    workflow: str
    input: dict[str, Any]


class TaskBegun(BaseModel):
    """202 of `POST /generate`: the task is on disk."""

    task_id: str
    warnings: list[str] | None = None


class TaskResult(BaseModel):
    """What came of a task."""

    download_url: str | None = Field(
        description="Of the first output: presigned, where it was uploaded to, or its address here."
    )
    outputs: list[Output]
    seed: int | None


class TaskAnswer(BaseModel):
    """`GET /tasks/{id}`."""

    task_id: str
    status: Literal["PENDING", "STARTED", "SUCCESS", "FAILURE", "REVOKED"]
    progress: Progress
    result: TaskResult | None = Field(None, description="Of a SUCCESS.")
    error: JobError | None = Field(None, description="Of a FAILURE, or of a REVOKED task.")
