from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import gateway
from gateway import errors
from gateway.comfy import model_paths
from gateway.config import Settings


def settings_in(folder: Path, **given: Any) -> Settings:
    names = ("state_dir", "cache_dir", "model_dir", "custom_nodes_dir")
    return Settings(**{name: folder / name for name in names} | given)


def search_order(content: dict[str, Any], own: dict[str, list[str]]) -> dict[str, list[str]]:
    """What ComfyUI's load_extra_path_config makes of a file that only has default folders."""
    found = {kind: list(paths) for kind, paths in own.items()}
    for section in content.values():
        assert section.pop("is_default") is True
        for kind, paths in section.items():
            for path in paths.split("\n"):
                found.setdefault(kind, [])
                if path in found[kind]:
                    found[kind].remove(path)
                found[kind].insert(0, path)
    return found


def test_links_come_first_then_models_then_comfyuis_own(tmp_path: Path) -> None:
    home = tmp_path / "ComfyUI"
    settings = settings_in(tmp_path, comfy_home=home)
    model_paths.prepare(settings)
    content = yaml.safe_load(settings.extra_model_paths.read_text())
    own = {
        kind: [str(home / "models" / name) for name in names]
        for kind, names in model_paths.MODEL_FOLDERS.items()
    }
    found = search_order(content, own)

    nodes = found.pop("custom_nodes")
    assert nodes == [str(settings.custom_nodes)]
    assert found == {
        kind: [
            str(settings.cache / "links" / kind),
            *(str(settings.models / name) for name in names),
            *own[kind],
        ]
        for kind, names in model_paths.MODEL_FOLDERS.items()
    }


@pytest.mark.parametrize("name", ["model_dir", "custom_nodes_dir"])
def test_a_folder_of_comfyuis_own_is_not_named_again(tmp_path: Path, name: str) -> None:
    home = tmp_path / "ComfyUI"
    own = {"model_dir": home / "models", "custom_nodes_dir": home / "custom_nodes"}[name]
    own.mkdir(parents=True)
    (tmp_path / "link").symlink_to(own)
    found = model_paths.extra_paths(
        settings_in(tmp_path, comfy_home=home, **{name: tmp_path / "link"})
    )

    section = {"model_dir": "models", "custom_nodes_dir": "custom_nodes"}[name]
    assert f"comfy_gateway_{section}" not in found
    assert len(found) == 2


def test_folders_are_made(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    model_paths.prepare(settings)
    model_paths.prepare(settings)

    assert (settings.models / "text_encoders").is_dir()
    assert (settings.cache / "links" / "loras").is_dir()
    for folder in (settings.inputs, settings.outputs, settings.temp, settings.custom_nodes):
        assert folder.is_dir()
    assert [path.name for path in settings.state.iterdir() if path.is_file()] == [
        "extra_model_paths.yaml"
    ]


def test_names_that_mean_something_in_yaml_survive(tmp_path: Path) -> None:
    odd = tmp_path / "a: b # $HOME ~ 'x' \"y\" é"
    settings = settings_in(tmp_path, model_dir=odd)
    model_paths.prepare(settings)

    content = yaml.safe_load(settings.extra_model_paths.read_text())
    assert content["comfy_gateway_models"]["checkpoints"] == str(odd / "checkpoints")


def test_every_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    settings = settings_in(
        tmp_path, output_dir=tmp_path / "file" / "out", input_dir=tmp_path / "file" / "in"
    )

    with pytest.raises(errors.SettingsInvalid) as refused:
        model_paths.prepare(settings)
    assert [line.split("=")[0] for line in refused.value.message.splitlines()] == [
        "INPUT_DIR",
        "OUTPUT_DIR",
    ]


def test_a_folder_of_a_kind_of_model_may_be_missing(tmp_path: Path) -> None:
    """A shared models folder may be read-only here."""
    models = tmp_path / "models"
    models.mkdir()
    (models / "loras").touch()
    model_paths.prepare(settings_in(tmp_path, model_dir=models))

    assert (models / "vae").is_dir()


def test_all_folders_are_told_that_comfyui_searches_after_the_links(tmp_path: Path) -> None:
    home = tmp_path / "ComfyUI"
    (home / "models").mkdir(parents=True)
    apart = model_paths.searched(settings_in(tmp_path, comfy_home=home))
    assert apart["diffusion_models"] == tuple(
        root / name
        for root in (tmp_path / "model_dir", home / "models")
        for name in ("unet", "diffusion_models")
    )
    assert set(apart) == set(model_paths.MODEL_FOLDERS)
    own = model_paths.searched(settings_in(tmp_path, comfy_home=home, model_dir=home / "models"))
    assert own["loras"] == (home / "models" / "loras",)


PREPARE = """
import sys
from gateway.comfy import model_paths
from gateway.config import Settings
folder = sys.argv[1]
names = ("state_dir", "cache_dir", "custom_nodes_dir")
settings = Settings(
    **{name: f"{folder}/{name}" for name in names}, model_dir=f"{folder}/models"
)
model_paths.prepare(settings)
print("prepared")
"""


def test_a_models_folder_mounted_read_only_is_taken_as_it_is(tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    mount = (
        'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && cd "$2" && exec "$3" -c "$4" .'
    )
    done = subprocess.run(
        [
            *("unshare", "--map-root-user", "--mount", "sh", "-c", mount, "sh"),
            *(str(models), str(tmp_path), sys.executable, PREPARE),
        ],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(gateway.__file__).parent.parent)},
    )
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip("no mounts here")
    assert done.stdout.strip() == "prepared"
    assert list(models.iterdir()) == []
    assert (tmp_path / "cache_dir" / "links" / "loras").is_dir()
