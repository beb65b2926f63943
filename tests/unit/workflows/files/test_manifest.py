"""Whatever a manifest says is a workflow or a mistake, never a failure."""

from __future__ import annotations

from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.workflows.files import manifest, sources
from gateway.workflows.files.conversion import Conversion
from gateway.workflows.files.graph_file import GraphFile, parse
from gateway.workflows.files.manifest import Shared
from gateway.workflows.files.mistakes import Mistake, spot
from gateway.workflows.files.own_presets import lora_presets, presets
from gateway.workflows.files.parameters import KINDS
from gateway.workflows.sampling.presets import BUILT_IN
from gateway.workflows.workflow import Workflow

GRAPH: dict[str, Any] = {
    "6": {"class_type": "Text", "inputs": {"text": "a", "clip": ["7", 0]}, "_meta": {"title": "P"}},
    "7": {"class_type": "Clip", "inputs": {}},
}

WORDS = (
    "a", "6.text", "6.inputs.text", "6.clip", "integer", "float", "enum", "seed", "string", "model",
    "boolean", "lora", "image", "random", "fast", "P", "Text", "Clip", "6", "7", "text", "/a", "20",
    "../b.json", "b.json", "",
)  # fmt: skip
KEYS = (
    "type", "default", "required", "min", "max", "multiple_of", "choices", "description", "folder",
    "bind", "toggle", "title", "class", "input", "all", "steps", "cfg", "name", "url", "strength",
    "workflow_file", "parameters", "overrides", "route", "preset", "outputs", "example", "a", "b",
)  # fmt: skip


FIELDS = KEYS[1:11]


@st.composite
def said(draw: st.DrawFn, depth: int = 4) -> Any:
    """Draw what a file of YAML may say, of words that mean something in a manifest."""
    shape = draw(st.integers(0, 5)) if depth else 0
    if shape >= 3:
        keys = draw(st.lists(st.sampled_from(KEYS), max_size=6, unique=True))
        return {key: draw(said(depth - 1)) for key in keys}
    if shape == 2:
        return [draw(said(depth - 1)) for _ in range(draw(st.integers(0, 3)))]
    plain = (st.sampled_from(WORDS), st.integers(-2, 99), st.booleans(), st.none(), st.floats())
    return draw(draw(st.sampled_from((*plain, st.dates()))))


def made(manifest_said: Any, base: Any) -> tuple[Workflow, list[Mistake]]:
    """Return what a manifest amounts to, and its mistakes."""
    written, wrong = spot("a.yaml", yaml.safe_dump(manifest_said))
    based, _ = spot("base.yaml", yaml.safe_dump(base))
    shared = Shared(based, presets=BUILT_IN)
    read = manifest.read(written, shared, wrong)
    return manifest.workflow("a", read, GraphFile(GRAPH, {}), "1", wrong), wrong


@settings(max_examples=200, deadline=None)
@given(said(), said(depth=2))
def test_any_manifest_is_a_workflow_or_has_mistakes(written, base):
    workflow, wrong = made(written, base)

    if not wrong:
        for parameter in workflow.parameters.values():
            assert parameter.places or parameter.toggle
    assert all(mistake.line >= 1 and mistake.column >= 1 for mistake in wrong)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(KINDS), st.lists(st.sampled_from(FIELDS), unique=True), st.data())
def test_any_parameter_is_one_or_has_mistakes(kind, keys, data):
    parameter = {key: data.draw(said(depth=2), key) for key in keys}
    written = {"parameters": {"a": {"bind": "6.text", **parameter, "type": kind}}}

    workflow, wrong = made(written, {})

    assert ("a" in workflow.parameters) or wrong


@settings(max_examples=100, deadline=None)
@given(said(depth=3))
def test_any_workflows_yaml_names_workflows(written):
    sections, _ = spot("workflows.yaml", yaml.safe_dump(written))

    found = sources.discover(["a.json", "b.yaml", "steps.py", "workflows.yaml"], sections)

    assert not isinstance(written, dict) or written.keys() <= found.keys()


@settings(max_examples=100, deadline=None)
@given(said(depth=3))
def test_any_presets_are_presets_or_mistakes(written):
    for read in (presets, lora_presets):
        whole, wrong = spot("presets.yaml", yaml.safe_dump(written))

        found = read(whole, wrong)

        assert len(found) == len(written) if isinstance(written, dict) and not wrong else True


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60) | st.text('{}[]":,0 \n6aclassty_pe', max_size=80).map(str.encode))
def test_any_bytes_are_a_graph_or_a_mistake(raw):
    found, wrong, is_canvas = parse("a.json", raw, Conversion())

    assert (found is None) == (bool(wrong) or is_canvas)
