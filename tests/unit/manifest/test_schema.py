"""The manifest: what it may say, and where its mistakes are."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway import errors
from gateway.config import Settings
from gateway.manifest import schema
from gateway.manifest.sources import GitNode, RegistryNode

WHOLE = """\
apt: [ffmpeg, "libgl1=1.6.0-1"]
pip:
  - numpy==1.26.4
  - "pillow>=11 ; python_version > '3.10'"
  - git+https://github.com/o/package@v1
  - package @ https://example.org/package.whl
custom_nodes:
  - comfyui-kjnodes@1.0.0
  - https://github.com/o/r/tree/main
models:
  before_start:
    - url: https://example.org/x.safetensors
      local_path: checkpoints/x.safetensors
    - {url: "hf://o/r/x.safetensors", type: loras, name: sub/y.safetensors}
  after_start:
    - url: s3://bucket/z
      type: vae
      sha256: ABCDEF0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF0123456789
model_inputs:
  MyLoader: {weights: loras}
"""


def settings(**given: object) -> Settings:
    return Settings.model_validate({"model_dir": "/data/models", **given})


def parse(text: str) -> schema.Manifest:
    return schema.parse(text, "m.yaml", settings(comfy_home="/opt/ComfyUI"))


def mistakes(text: str) -> list[str]:
    with pytest.raises(errors.SettingsInvalid) as failure:
        parse(text)
    return failure.value.message.splitlines()


class TestParse:
    def test_everything(self) -> None:
        found = parse(WHOLE)
        assert found.apt == ("ffmpeg", "libgl1=1.6.0-1")
        assert found.pip[0] == "numpy==1.26.4"
        assert len(found.pip) == 4
        assert found.custom_nodes == (
            RegistryNode(name="comfyui-kjnodes", version="1.0.0"),
            GitNode(url="https://github.com/o/r", ref="main"),
        )
        before, after = found.models.before_start, found.models.after_start
        assert [(entry.folder, entry.filename) for entry in (*before, *after)] == [
            ("checkpoints", "x.safetensors"),
            ("loras", "sub/y.safetensors"),
            ("vae", None),
        ]
        assert after[0].sha256 == "abcdef0123456789" * 4
        assert found.model_inputs == {"MyLoader": {"weights": "loras"}}

    @pytest.mark.parametrize("text", ["", "# nothing", "apt:\npip:\nmodels:\n", "{}", "\n{ }\n"])
    def test_nothing(self, text: str) -> None:
        assert parse(text) == schema.Manifest()

    def test_json_with_tabs_and_pairs_of_surrogates(self) -> None:
        text = '{\n\t"models": {"before_start": [\n\t\t{"url": "http://h/x", "type": "a", '
        found = parse(text + '"name": "\\ud83d\\ude00.pt"}]}}')
        assert found.models.before_start[0].filename == "😀.pt"

    def test_the_name_of_the_environment_variable(self) -> None:
        assert parse("MODEL_INPUTS: {A: {b: vae}}").model_inputs == {"A": {"b": "vae"}}

    @pytest.mark.parametrize(
        "path",
        [
            "checkpoints/x.pt",
            "models/checkpoints/x.pt",
            "./models/checkpoints/x.pt",
            "/data/models/checkpoints/x.pt",
            "/opt/ComfyUI/models/checkpoints/x.pt",
        ],
    )
    def test_every_way_to_say_where(self, path: str) -> None:
        found = parse(f"models: {{before_start: [{{url: 'http://h/x', local_path: {path}}}]}}")
        entry = found.models.before_start[0]
        assert (entry.folder, entry.filename) == ("checkpoints", "x.pt")

    def test_secrets_of_urls_are_not_shown(self) -> None:
        found = parse(
            "models: {after_start: [{url: 'https://u:secret@h/x?token=secret', type: a}]}"
        )
        entry = found.models.after_start[0]
        assert "secret" not in f"{entry!r} {entry.shown}"


MISTAKES = [
    ("aptt: []", "line 1, column 1: there is no key 'aptt'; did you mean apt?"),
    ("custom_node: []", "line 1, column 1: there is no key 'custom_node'; did you mean custom_n"),
    ("zzz: 1", "line 1, column 1: there is no key 'zzz'; known: apt, pip, custom_nodes, models"),
    ("models:\n  before: []", "line 2, column 3: there is no key 'before'; did you mean before_s"),
    (
        "models:\n  after_start:\n    - {url: a://b, tpe: x, type: y}",
        "line 3, column 20: there is no key",
    ),
    ("models:\n  after_start:\n    - type: a", "line 3, column 7: url is missing"),
    ("[a]", "line 1, column 1: this must be a mapping"),
    ("models: [a]", "line 1, column 9: this must be a mapping"),
    ("apt: ffmpeg", "line 1, column 6: this must be a list"),
    ("apt:\n- 1", "line 2, column 3: this must be text"),
    ("apt:\n- ffmpeg-", "line 2, column 3: a package of apt"),
    ("apt:\n- -x", "line 2, column 3: a package of apt"),
    ("apt: [a/b]", "line 1, column 7: a package of apt"),
    ("pip: [numpy=1]", "line 1, column 7: a package of pip"),
    ("pip: [./x]", "line 1, column 7: a package of pip"),
    ("pip: ['-r x']", "line 1, column 7: pip's options are not taken"),
    ("custom_nodes: [../x]", "line 1, column 16: a custom node is a registry name"),
    ("custom_nodes: [1]", "line 1, column 16: a custom node is text"),
    ("custom_nodes: [a, A@1]", "line 1, column 19: there is another custom node called A"),
    ("custom_nodes:\n- r\n- https://h/o/R.git", "line 3, column 3: there is another custom node"),
    ("apt: []\napt: []", "line 2, column 1: 'apt' stands here twice"),
    ("{1: 2}", "line 1, column 2: this is not JSON"),
    ("1: 2", "line 1, column 1: a key must be text"),
    ("a: &x []\nb: *x", "line 2, column 4: aliases"),
    ("apt: !!python/object/apply:os.system [x]", "line 1, column 6: the tag"),
    ("apt: [" + "[" * 30, "line 1, column 25: it is nested too deeply"),
    ("apt: [\n  a,\n  b", "line 3, column 4: expected ',' or ']'"),
    ("apt:\n\t- x", "line 2, column 1: found character '\\t' that cannot start any token"),
    ("apt: \x01", "line 1, column 1: a character in it"),
    ("pip: [2024-13-45]", "line 1, column 7: this value cannot be read"),
    ('{"apt": ["a",]}', "line 1, column 14: this is not JSON"),
    ('{"apt":\n ["a"], "apt": []}', "line 2, column 9: 'apt' stands here twice"),
    ('{"apt":\n\t["aa", 1]}', "line 2, column 9: this must be text"),
]


@pytest.mark.parametrize(("text", "told"), MISTAKES)
def test_mistakes_are_told_with_their_place(text: str, told: str) -> None:
    (line,) = mistakes(text)
    assert line.startswith(f"m.yaml, {told}")


MODELS = [
    ("{url: x, type: a}", "this is not a URL"),
    ("{url: 'http://h/x'}", "either local_path"),
    ("{url: 'http://h/x', type: a, local_path: a/b}", "either local_path"),
    ("{url: 'http://h/x', local_path: a/b, name: c}", "name goes with type"),
    ("{url: 'http://h/x', local_path: a}", "FOLDER/NAME"),
    ("{url: 'http://h/x', local_path: a/../b}", "inside the models folder"),
    ("{url: 'http://h/x', local_path: ../models/a/b}", "inside the models folder"),
    ("{url: 'http://h/x', local_path: /etc/a/b}", "outside MODEL_DIR (/data/models)"),
    ("{url: 'http://h/x', local_path: /data/models/../x}", "inside the models folder"),
    ("{url: 'http://h/x', type: ../x}", "type is the name of one folder"),
    ("{url: 'http://h/x', type: ..}", "inside the models folder"),
    ("{url: 'http://h/x', type: ''}", "inside the models folder"),
    ("{url: 'http://h/x', type: a, name: \"x\\0y\"}", "inside the models folder"),
    (f"{{url: 'http://h/x', type: a, name: {'n' * 300}}}", "longer than 255 bytes"),
    ("{url: 'http://h/x', type: a, sha256: abc}", "64 hexadecimal digits"),
]


@pytest.mark.parametrize(("model", "told"), MODELS)
def test_models_that_are_refused(model: str, told: str) -> None:
    (line,) = mistakes(f"models: {{before_start: [{model}]}}")
    assert line.startswith("m.yaml, line 1, column ")
    assert told in line


def test_two_urls_with_one_name() -> None:
    (line,) = mistakes(
        "models:\n"
        "  before_start:\n"
        "    - {url: 'http://h/1', local_path: loras/x}\n"
        "    - {url: 'http://h/1', type: loras, name: x}\n"
        "  after_start:\n"
        "    - {url: 'http://h/2', type: loras, name: x}\n"
    )
    assert line == "m.yaml, line 6, column 7: another URL is to be called loras/x, too"


def test_all_mistakes_are_told_at_once() -> None:
    found = mistakes("aptt: []\npip: x\nmodels:\n  before_start:\n    - url: https://h/x\n")
    assert [line.split(":")[0] for line in found] == [
        "m.yaml, line 1, column 1",
        "m.yaml, line 2, column 6",
        "m.yaml, line 5, column 7",
    ]


class TestLoad:
    def test_without_one(self) -> None:
        assert schema.load(settings()) is None

    def test_from_a_file(self, tmp_path: Path) -> None:
        file = tmp_path / "m.yaml"
        file.write_text("\ufeffapt: [ffmpeg]", encoding="utf-8")
        found = schema.load(settings(manifest=file))
        assert found is not None
        assert found.apt == ("ffmpeg",)

    def test_the_variable_wins(self, tmp_path: Path) -> None:
        given = settings(manifest=tmp_path / "absent", manifest_json='{"apt": ["git"]}')
        found = schema.load(given)
        assert found is not None
        assert found.apt == ("git",)

    def test_a_mistake_in_the_variable(self) -> None:
        with pytest.raises(errors.SettingsInvalid, match="MANIFEST_JSON, line 1, column 2: there"):
            schema.load(settings(manifest_json='{"aptt": []}'))

    def test_a_file_that_cannot_be_read(self, tmp_path: Path) -> None:
        with pytest.raises(errors.SettingsInvalid, match="cannot be read"):
            schema.load(settings(manifest=tmp_path))

    def test_a_file_that_is_no_text(self, tmp_path: Path) -> None:
        file = tmp_path / "m.yaml"
        file.write_bytes(b"\xff\xfe\x00")
        with pytest.raises(errors.SettingsInvalid, match="not UTF-8"):
            schema.load(settings(manifest=file))


def test_each_key_is_documented() -> None:
    page = (Path(__file__).parents[3] / "docs" / "howto" / "manifest.md").read_text()
    headings = {line for line in page.splitlines() if line.startswith("## `")}
    assert headings == {f"## `{key}`" for key in schema.Manifest.model_fields}
    for key in (*schema.ModelEntry.model_fields, *schema.ModelLists.model_fields):
        assert f"`{key}`" in page or f"`models.{key}`" in page
