"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

PLAIN: dict[str, Any] = {"rich_markup_mode": None, "pretty_exceptions_enable": False}

UrlOption = Annotated[
    str, typer.Option("--url", envvar="GATEWAY_URL", help="Address of the gateway.")
]
LocalUrlOption = Annotated[
    str | None,
    typer.Option(
        "--url",
        envvar="GATEWAY_URL",
        help="Address of the gateway; one is started where none runs on this machine.",
    ),
]
KeyOption = Annotated[
    str | None,
    typer.Option("--key", envvar="GATEWAY_API_KEY", help="API key, where it asks for one."),
]
PreviewOption = Annotated[
    Path | None,
    typer.Option("--preview", metavar="FILE", help="Where the newest preview is saved."),
]
OutputOption = Annotated[
    str, typer.Option("-o", "--output", metavar="PATH", help="A file or a folder.")
]
NoMetadataOption = Annotated[
    bool, typer.Option("--no-metadata", help="Without the file that says what made it.")
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Print the final graph, and run nothing.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
ObjectInfoOption = Annotated[
    str | None,
    typer.Option(
        "--object-info",
        metavar="FILE|URL",
        help="ComfyUI's /object_info; asked of ComfyUI itself by default.",
    ),
]
WorkflowArgument = Annotated[
    str,
    typer.Argument(
        metavar="FILE|URL", help='JSON in either format, {"prompt": it}, or a picture with one.'
    ),
]
