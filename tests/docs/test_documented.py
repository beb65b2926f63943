"""Everything that exists is documented, and nothing is documented that does not exist."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer.main

from gateway import errors, metrics, models, schemas, storage
from gateway.api.descriptions import OPERATIONS
from gateway.api.routes import TABLE
from gateway.cli.commands import app
from gateway.config import Settings
from gateway.media import options
from tests.docs.reading import DOCS, coded, headings, rows, section, text_of
from tests.docs.running import ROOT

REFERENCE = DOCS / "reference"


def subclasses(found: type) -> Iterator[type]:
    for child in found.__subclasses__():
        yield child
        yield from subclasses(child)


FAILURES = [errors.GatewayError, *subclasses(errors.GatewayError)]
FAMILIES = {
    errors.GatewayError,
    errors.RequestRefused,
    errors.JobFailed,
    errors.Unavailable,
}
SIGNALS = {
    errors.SettingsInvalid,
    errors.StateRefused,
    errors.InstallFailed,
    errors.ScriptMistake,
    errors.EngineLost,
    errors.GpuLost,
    errors.EngineRefused,
    errors.LeaseLost,
}
ON_THE_WIRE = [found for found in FAILURES if found not in FAMILIES | SIGNALS]


class TestSettings:
    def table(self) -> dict[str, list[str]]:
        return {coded(row[0])[0]: row for row in rows(text_of(REFERENCE / "settings.md"))}

    def test_each_is_documented_and_no_other(self) -> None:
        assert self.table().keys() == {name.upper() for name in Settings.model_fields}

    @pytest.mark.parametrize("name", Settings.model_fields)
    def test_its_default_is_what_the_page_says(self, name: str) -> None:
        _, shown, _ = self.table()[name.upper()]
        default = Settings.model_fields[name].default
        if default in (None, ()):
            assert shown == ""
        else:
            default = ",".join(default) if isinstance(default, tuple) else default
            told = str(default).lower() if isinstance(default, bool) else str(default)
            assert coded(shown) == [told.removesuffix(".0")]

    def test_those_of_the_page_for_docker_exist(self) -> None:
        text = (ROOT / "env.example").read_text()
        given = set(re.findall(r"^(?:# )?([A-Z][A-Z0-9_]+)=", text, re.MULTILINE))
        of_compose = {
            *("BASE_IMAGE", "COMFYUI_VERSION", "CUDA_VISIBLE_DEVICES", "PUID", "PGID"),
            *("STOP_GRACE_PERIOD", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"),
        }
        assert given - of_compose <= self.table().keys()


class TestRoutes:
    def test_each_is_documented_and_no_other(self) -> None:
        told = [
            heading for heading in headings(REFERENCE / "api.md") if re.match(r"[A-Z]+ /", heading)
        ]
        assert sorted(told) == sorted(f"{route.method} {route.path}" for route in TABLE)

    def test_each_is_in_the_openapi_document_and_no_other(self) -> None:
        assert OPERATIONS.keys() == {(route.method, route.path) for route in TABLE}

    @pytest.mark.parametrize("route", TABLE, ids=lambda route: f"{route.method} {route.path}")
    def test_its_handler_says_what_it_does(self, route: Any) -> None:
        assert inspect.getdoc(route.handler)

    def test_each_field_of_a_prompt_is_documented(self) -> None:
        table = rows(section(REFERENCE / "api.md", "POST /prompt"))
        told = {name for row in table for name in coded(row[0])}
        assert schemas.PromptRequest.model_fields.keys() <= told

    def test_each_option_of_a_conversion_is_documented_with_its_default(self) -> None:
        table = list(rows(section(REFERENCE / "api.md", "convert_output")))
        told = {((coded(row[0]) or row)[0], coded(row[1])[0]): coded(row[2])[0] for row in table}
        known = {("all", "keep_metadata"): "true"}
        for form in ("jpeg", "webp", "png", "avif"):
            for field in options.BY_FORMAT[form].model_fields.values():
                if field.alias != "keep_metadata":
                    known[form, str(field.alias or "")] = _json(field.default)
        assert told == known


def _json(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value).lower()


class TestMetrics:
    def test_each_is_documented_and_no_other(self) -> None:
        told = {
            (coded(row[0])[0], row[1], tuple(coded(row[2])))
            for row in rows(text_of(REFERENCE / "metrics.md"))
        }
        known = set()
        for family in metrics.registry.collect():
            name = f"{family.name}_total" if family.type == "counter" else family.name
            known.add((name, family.type, _labels(family.name)))
        assert told == known


def _labels(name: str) -> tuple[str, ...]:
    collectors = [found for found in vars(metrics).values() if hasattr(found, "_labelnames")]
    return next((found._labelnames for found in collectors if found._name == name), ())


class TestErrors:
    def test_each_code_is_documented_with_its_status_and_no_other(self) -> None:
        told = {(coded(row[0])[0], int(row[1])) for row in rows(text_of(REFERENCE / "errors.md"))}
        assert told == {(found.code, found.status) for found in ON_THE_WIRE}

    def test_no_code_has_two_meanings(self) -> None:
        codes = [found.code for found in ON_THE_WIRE]
        assert len(codes) == len(set(codes))

    @pytest.mark.parametrize("found", FAILURES, ids=lambda found: found.__name__)
    def test_its_docstring_is_a_sentence(self, found: type) -> None:
        assert (found.__doc__ or "").splitlines()[0].endswith(".")

    def test_the_tree_is_drawn_as_it_is(self) -> None:
        drawn = re.findall(r"── (\w+) +(\d{3}) (\w+)$", errors.__doc__ or "", re.MULTILINE)
        known = {(found.__name__, str(found.status), found.code) for found in ON_THE_WIRE}
        assert set(drawn) == known
        named = set(re.findall(r"── (\w+)", errors.__doc__ or ""))
        expected = {found.__name__ for found in FAILURES} - {"GatewayError"}
        assert named - {"Internal"} == expected


class TestCommands:
    def commands(self) -> dict[str, Any]:
        top: Any = typer.main.get_command(app)
        found: dict[str, Any] = {}
        for name, command in top.commands.items():
            found[f"gateway {name}"] = command
            for below, nested in getattr(command, "commands", {}).items():
                found[f"gateway {name} {below}"] = nested
        return found

    def test_each_is_documented_and_no_other(self) -> None:
        page = DOCS / "howto" / "command-line.md"
        told = [found for found in headings(page) if found.startswith("gateway ")]
        assert sorted(told) == sorted(self.commands())

    def test_each_option_is_documented_and_no_other(self) -> None:
        page = DOCS / "howto" / "command-line.md"
        told = {name for row in rows(text_of(page)) for name in coded(row[0])}
        known = {
            name
            for command in self.commands().values()
            for parameter in command.params
            for name in parameter.opts
            if name.startswith("-") and name != "--help"
        }
        assert told == known


@pytest.mark.parametrize("room", [models, storage], ids=["models", "storage"])
def test_a_room_s_first_words_name_every_module_in_it(room: ModuleType) -> None:
    told = set(re.findall(r"\w+", room.__doc__ or ""))
    there = {path.stem for path in Path(room.__path__[0]).glob("*.py")} - {"__init__"}

    assert there - told == set()
