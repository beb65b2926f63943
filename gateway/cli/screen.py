"""What the command line shows: tables, a progress bar, problems."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import orjson
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table

from gateway import errors
from gateway.cli import models
from gateway.cli.failure import plain

#: Into a file or a pipe, nothing is cut to fit.
_WIDE = 400


def show_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table on standard output."""
    terminal = sys.stdout.isatty()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, column in enumerate(columns):
        # The first is what one copies: a narrow terminal folds the others.
        table.add_column(column, no_wrap=number == 0 or not terminal, overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console(width=None if terminal else _WIDE, markup=False, highlight=False).print(table)


def show_json(found: dict[str, Any]) -> None:
    """Print an object on standard output."""
    sys.stdout.write(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode() + "\n")


def show_lines(lines: Sequence[str]) -> None:
    """Print lines on standard output."""
    sys.stdout.writelines(f"{plain(line)}\n" for line in lines)


def show_text(text: str) -> None:
    """Print a text as it is on standard output."""
    sys.stdout.write(text)


def show_notes(notes: Sequence[str]) -> None:
    """Print what the caller may want to know on standard error."""
    sys.stderr.writelines(f"note: {plain(note)}\n" for note in notes)


def show_changes(changes: Sequence[str]) -> None:
    """Print what was changed on standard error."""
    sys.stderr.writelines(f"changed: {change}\n" for change in changes)


def told(problem: errors.GatewayError) -> str:
    """Return a problem as the reader of `gateway check` gets it."""
    where = f"\n  at: {problem.location}" if problem.location else ""
    hint = f"\n  hint: {problem.hint}" if problem.hint else ""
    return f"{problem.message}{where}{hint}"


@contextlib.contextmanager
def download_bar(name: str) -> Iterator[models.Watcher]:
    """Show a bar on standard error, with size, rate and the time that remains."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True, markup=False)
    hidden = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=hidden) as progress:
        task = progress.add_task(f"wanted {name}", total=None)

        def watch(download: dict[str, Any]) -> None:
            progress.update(
                task,
                description=f"{download['state']} {name}",
                completed=download["bytes"],
                total=download["total"],
            )

        yield watch


def size(count: int) -> str:
    """Return a number of bytes as people read it."""
    value = float(count)
    for unit in ("bytes", "KB", "MB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} GB"
