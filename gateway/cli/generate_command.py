"""`gateway generate`: its options."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

import typer

from gateway.cli import flags as flagging
from gateway.cli import local_gateway, picture, results
from gateway.cli.client import Client
from gateway.cli.flags import Flags
from gateway.cli.options import (
    DryRunOption,
    JsonOption,
    KeyOption,
    LocalUrlOption,
    NoMetadataOption,
    OutputOption,
    PreviewOption,
)
from gateway.cli.order import Ending, Order

_Read = TypeVar("_Read")


@dataclass(frozen=True)
class Wanted:
    """What the command is to do with the request that the flags make."""

    workflow: str
    flags: Flags
    ending: Ending
    url: str | None
    key: str | None


def generate(  # noqa: PLR0913, PLR0917 - each is an option of the command
    workflow: Annotated[
        str | None,
        typer.Option(
            "-w", "--workflow", metavar="NAME|FILE|URL", help="As `workflows ls` has it, or a file."
        ),
    ] = None,
    prompt: Annotated[
        str | None, typer.Option("-p", "--prompt", help="What is to be seen.")
    ] = None,
    negative_prompt: Annotated[str | None, typer.Option(help="What is not to be seen.")] = None,
    preset: Annotated[str | None, typer.Option(help="Settings of the sampler, by name.")] = None,
    loras: Annotated[
        list[str] | None,
        typer.Option("--lora", metavar="FILE|URL[:STRENGTH[:CLIP]]", help="A LoRA, in this order."),
    ] = None,
    lora_preset: Annotated[str | None, typer.Option(help="LoRAs, by the name of a list.")] = None,
    images: Annotated[
        list[str] | None,
        typer.Option("--input-image", metavar="[NAME=]FILE|URL", help="Picture to begin with."),
    ] = None,
    resize: Annotated[
        str | None, typer.Option(metavar="WxH", help="Bring the pictures to this size first.")
    ] = None,
    crop: Annotated[
        Literal["cover", "contain", "fill"] | None,
        typer.Option(help="How: cut off, leave edges, or distort; cover when not given."),
    ] = None,
    denoise: Annotated[float | None, typer.Option(help="How much of the picture is new, 0..1.")] = (
        None
    ),
    steps: Annotated[int | None, typer.Option(help="Steps of the sampler.")] = None,
    cfg: Annotated[float | None, typer.Option(help="How strictly the prompt is followed.")] = None,
    sampler: Annotated[str | None, typer.Option(help="As euler, dpmpp_2m.")] = None,
    scheduler: Annotated[str | None, typer.Option(help="As normal, karras.")] = None,
    width: Annotated[int | None, typer.Option(help="Of the picture, in pixels.")] = None,
    height: Annotated[int | None, typer.Option(help="Of the picture, in pixels.")] = None,
    seed: Annotated[
        str | None, typer.Option(metavar="NUMBER|random", help="-1 is random too.")
    ] = None,
    values: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Any parameter; NODE.INPUT in a file."),
    ] = None,
    output: OutputOption = ".",
    no_metadata: NoMetadataOption = False,
    dry_run: DryRunOption = False,
    preview: PreviewOption = None,
    as_json: JsonOption = False,
    list_presets: Annotated[bool, typer.Option("--list-presets", help="Show them.")] = False,
    list_loras: Annotated[bool, typer.Option("--list-loras", help="Show them.")] = False,
    url: LocalUrlOption = None,
    key: KeyOption = None,
) -> None:
    """Make a picture with a workflow, by its name or from a file; Ctrl-C cancels it."""
    if list_presets or list_loras:
        show = _list_loras if list_loras else _list_presets
        local_gateway.run(_listed(show, url, key, as_json))
        return
    if workflow is None:
        raise typer.BadParameter("give its name, or a file", param_hint="--workflow")
    if (resize or crop) and not images:
        raise typer.BadParameter("there is no --input-image", param_hint="--resize")
    if crop and not resize:
        raise typer.BadParameter("it goes with --resize", param_hint="--crop")
    settings = {
        "prompt": prompt,
        "negative_prompt": negative_prompt,
        "seed": read("--seed", flagging.seed, seed),
        "steps": steps,
        "cfg": cfg,
        "sampler": sampler,
        "scheduler": scheduler,
        "denoise": denoise,
        "width": width,
        "height": height,
    }
    fields = {
        "preset": preset,
        "loras": [read("--lora", flagging.lora, text) for text in loras or ()] or None,
        "lora_preset": lora_preset,
        "metadata": False if no_metadata else None,
        "convert_output": results.conversion(output),
    }
    flags = Flags(given(settings), values or [], images or [], _frame(resize, crop), given(fields))
    ending = Ending(output, preview, dry_run, as_json)
    local_gateway.run(_generated(Wanted(workflow, flags, ending, url, key)))


def given(values: dict[str, Any]) -> dict[str, Any]:
    """Return those that were given."""
    return {name: value for name, value in values.items() if value is not None}


def read(option: str, reading: Callable[[str], _Read], text: str | None) -> _Read | None:
    """Return what the text of an option says; a usage error when it says nothing."""
    if text is None:
        return None
    try:
        return reading(text)
    except ValueError as failure:
        raise typer.BadParameter(str(failure), param_hint=option) from None


def _frame(resize: str | None, crop: picture.Crop | None) -> picture.Frame | None:
    size = read("--resize", picture.size, resize)
    return picture.Frame(*size, crop or "cover") if size else None


async def _generated(wanted: Wanted) -> None:
    from gateway.cli import outcome

    async with local_gateway.reached(wanted.url, wanted.key) as client:
        order = await ordered(client, wanted.workflow, wanted.flags)
        await outcome.reach(client, order, wanted.ending)


async def ordered(client: Client, source: str, flags: Flags) -> Order:
    """Return the request that a workflow and the flags make; raises CommandFailed."""
    from gateway.cli import file_order, named_order

    if flagging.is_file(source):
        found = await named_order.of_file(client, source, flags)
        return found or await file_order.of(client, source, flags)
    return await named_order.of(client, source, flags)


async def _listed(
    show: Callable[..., Any], url: str | None, key: str | None, as_json: bool
) -> None:
    async with local_gateway.reached(url, key) as client:
        await show(client, as_json=as_json)


async def _list_presets(client: Client, *, as_json: bool) -> None:
    from gateway.cli import presets, screen

    found = await client.ask("GET", "/presets")
    if as_json:
        screen.show_json(found)
        return
    screen.show_table(presets.COLUMNS, presets.rows(found))
    if lists := presets.lora_rows(found):
        screen.show_lines([""])
        screen.show_table(presets.LORA_COLUMNS, lists)


async def _list_loras(client: Client, *, as_json: bool) -> None:
    from gateway.cli import presets, screen

    found = await client.ask("GET", "/loras")
    if as_json:
        screen.show_json(found)
    else:
        screen.show_lines(presets.loras(found))
