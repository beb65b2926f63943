"""Links on a real disk: neighbours, containers, folders that cannot be written."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway import errors
from gateway.models.links import Links, place

NAME = "model.safetensors"


@dataclass(frozen=True)
class Instance:
    """A gateway's folders."""

    models: Path
    cache: Path

    @property
    def links(self) -> Links:
        return Links(self.models, self.cache, self.cache / "links")

    def cached(self, name: str, content: str = "weights") -> Path:
        path = self.cache / name
        path.write_text(content)
        return path

    def seen(self, folder: str, name: str) -> Path | None:
        """Return what ComfyUI finds: CACHE_DIR/links comes first."""
        for root in (self.cache / "links", self.models):
            path = root / folder / name
            if path.is_file():
                return path
        return None


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Instance]:
    def one(cache: str = "cache", models: str = "models") -> Instance:
        found = Instance(tmp_path / models, tmp_path / cache)
        for folder in (found.models, found.cache / "links"):
            folder.mkdir(parents=True, exist_ok=True)
        return found

    return one


@pytest.fixture
def here(make: Callable[..., Instance]) -> Instance:
    return make()


def current(links: Links, target: Path, folder: str = "loras", name: str = NAME) -> bool:
    status = target.stat()
    return links.is_current(folder, name, status.st_dev, status.st_ino)


def test_a_link_is_made_in_the_models_folder(here: Instance) -> None:
    links, target = here.links, here.cached("a.safetensors")
    assert not current(links, target)
    path = links.ensure("loras", NAME, target)

    assert path == here.models / "loras" / NAME
    assert path.readlink() == target
    assert current(links, target)
    assert links.ensure("loras", NAME, target) == path
    assert os.listdir(here.models / "loras") == [NAME]
    assert os.listdir(here.cache / "links") == []


def test_folders_in_a_name_are_made(here: Instance) -> None:
    target = here.cached("a.safetensors")
    path = here.links.ensure("loras", "style/ink/a.safetensors", target)
    assert path == here.models / "loras" / "style" / "ink" / "a.safetensors"
    assert path.read_text() == "weights"


def test_one_file_may_have_many_places(here: Instance) -> None:
    links, target = here.links, here.cached("a.safetensors")
    links.ensure("loras", "x.safetensors", target)
    links.ensure("loras", "y.safetensors", target)
    links.ensure("vae", "x.safetensors", target)
    known = ["loras/x.safetensors", "loras/y.safetensors", "vae/x.safetensors"]
    assert links.places(target) == known
    assert links.places(here.cache / "b.safetensors") == []


def test_names_that_callers_choose_are_not_remembered_for_ever(
    here: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.models.links._REMEMBERED", 2)
    monkeypatch.setattr("gateway.models.links._PLACES", 3)
    links, target = here.links, here.cached("a.safetensors")
    paths = [links.ensure("loras", f"{at}.safetensors", target) for at in range(5)]
    assert links.places(target) == [f"loras/{at}.safetensors" for at in (2, 3, 4)]
    for at, path in enumerate(paths):
        assert current(links, target, name=f"{at}.safetensors")
        assert links.ensure("loras", f"{at}.safetensors", target) == path


def test_a_later_run_finds_what_an_earlier_one_linked(here: Instance) -> None:
    target = here.cached("a.safetensors")
    here.links.ensure("loras", NAME, target)
    later = here.links
    assert current(later, target)
    assert later.places(target) == [f"loras/{NAME}"]


def test_a_file_that_came_back_is_seen_through_its_old_link(here: Instance) -> None:
    links, target = here.links, here.cached("a.safetensors")
    path = links.ensure("loras", NAME, target)
    target.unlink()
    assert not links.is_current("loras", NAME, 0, 0)
    here.cached("a.safetensors", "again")
    assert links.ensure("loras", NAME, target) == path
    assert current(links, target)


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_real_file_or_folder_is_never_replaced(here: Instance, kind: str) -> None:
    place = here.models / "loras" / NAME
    place.parent.mkdir()
    place.write_text("mine") if kind == "file" else place.mkdir()
    with pytest.raises(errors.LinkOccupied) as refused:
        here.links.ensure("loras", NAME, here.cached("a.safetensors"))

    assert refused.value.status == 409
    assert f"loras/{NAME} is taken: a {kind} of this name" in refused.value.message
    assert not place.is_symlink()
    assert os.listdir(here.cache / "links") == []


def test_a_file_where_a_folder_should_be_is_never_replaced(here: Instance) -> None:
    (here.models / "loras").touch()
    (here.models / "vae").mkdir()
    (here.models / "vae" / "sub").touch()
    target = here.cached("a.safetensors")
    for folder, name in (("loras", NAME), ("vae", f"sub/{NAME}")):
        with pytest.raises(errors.LinkOccupied):
            here.links.ensure(folder, name, target)


def test_another_model_of_ours_keeps_its_name(here: Instance) -> None:
    first, second = here.cached("a.safetensors"), here.cached("b.safetensors")
    links = here.links
    links.ensure("loras", NAME, first)
    with pytest.raises(errors.LinkOccupied) as refused:
        links.ensure("loras", NAME, second)
    assert "a.safetensors" in refused.value.message
    hint = refused.value.hint or ""
    assert hint.startswith("Remove what is there. Or fetch it under another name: POST /download")
    assert current(links, first)
    assert not current(links, second)


def test_a_dangling_link_into_our_cache_path_is_left_to_the_neighbours(here: Instance) -> None:
    """In another container, the same path may hold a file."""
    links, gone, target = here.links, here.cached("gone"), here.cached("a.safetensors")
    theirs = links.ensure("loras", NAME, gone)
    gone.unlink()
    ours = links.ensure("loras", NAME, target)

    assert theirs.readlink() == gone
    assert ours == here.cache / "links" / "loras" / NAME
    assert current(links, target)
    assert here.seen("loras", NAME) == ours


def test_a_neighbours_link_is_never_relied_on_and_never_changed(
    make: Callable[..., Instance],
) -> None:
    here, there = make("cache"), make("other")
    theirs = there.links.ensure("loras", NAME, there.cached("a.safetensors", "theirs"))
    target = here.cached("a.safetensors", "ours")
    links = here.links
    assert not current(links, target)
    path = links.ensure("loras", NAME, target)

    assert path == here.cache / "links" / "loras" / NAME
    assert theirs.readlink() == there.cache / "a.safetensors"
    assert current(links, target)
    assert links.ensure("loras", NAME, target) == path
    # Also when it dangles.
    (there.cache / "a.safetensors").unlink()
    path.unlink()
    assert links.ensure("loras", NAME, target) == path
    assert theirs.is_symlink()


def test_the_operators_own_links_are_anothers(here: Instance, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (here.models / "loras").mkdir()
    (here.models / "loras" / NAME).symlink_to("../../elsewhere/x.safetensors")
    target = here.cached("a.safetensors")
    assert here.links.ensure("loras", NAME, target) == here.cache / "links" / "loras" / NAME


def test_in_our_own_links_what_dangles_is_replaced(here: Instance) -> None:
    place = here.cache / "links" / "loras" / NAME
    place.parent.mkdir()
    place.symlink_to("/where/the/cache/was")
    target = here.cached("a.safetensors")
    links = here.links
    assert links.ensure("loras", NAME, target) == place
    assert place.readlink() == target
    assert sorted(os.listdir(here.cache / "links")) == ["loras"]

    with pytest.raises(errors.LinkOccupied):
        links.ensure("loras", NAME, here.cached("b.safetensors"))


def test_our_own_link_that_would_hide_another_is_seen(here: Instance) -> None:
    """What lies in CACHE_DIR/links wins over what lies in MODEL_DIR."""
    first, second = here.cached("a.safetensors"), here.cached("b.safetensors")
    private = here.cache / "links" / "loras" / NAME
    private.parent.mkdir()
    private.symlink_to(first)
    (here.models / "loras").mkdir()
    (here.models / "loras" / NAME).symlink_to(second)
    links = here.links
    assert not current(links, second)
    with pytest.raises(errors.LinkOccupied):
        links.ensure("loras", NAME, second)


@pytest.mark.parametrize(
    ("lies_in", "is_refused"), [("unet", True), ("diffusion_models", True), ("loras", False)]
)
def test_a_file_in_any_folder_that_comfyui_searches_is_not_hidden(
    here: Instance, lies_in: str, is_refused: bool
) -> None:
    searched = {
        "diffusion_models": (here.models / "unet", here.models / "diffusion_models"),
        "loras": (here.models / "loras",),
    }
    links = Links(here.models, here.cache, here.cache / "links", searched)
    (here.models / lies_in).mkdir()
    (here.models / lies_in / NAME).touch()
    target = here.cached("a.safetensors")
    if is_refused:
        with pytest.raises(errors.LinkOccupied):
            links.ensure("diffusion_models", NAME, target)
    else:
        path = links.ensure("diffusion_models", NAME, target)
        assert path == here.models / "diffusion_models" / NAME


def test_an_old_link_in_a_second_folder_serves(here: Instance) -> None:
    searched = {"diffusion_models": (here.models / "unet", here.models / "diffusion_models")}
    links = Links(here.models, here.cache, here.cache / "links", searched)
    target = here.cached("a.safetensors")
    (here.models / "unet").mkdir()
    (here.models / "unet" / NAME).symlink_to(target)
    assert links.ensure("diffusion_models", NAME, target) == here.models / "unet" / NAME
    assert current(links, target, "diffusion_models")


@pytest.mark.parametrize("is_literal", [True, False])
def test_a_cache_behind_a_link_is_known_under_both_names(
    tmp_path: Path, make: Callable[..., Instance], is_literal: bool
) -> None:
    real = make("real")
    (tmp_path / "cache").symlink_to(real.cache)
    (tmp_path / "other").symlink_to(real.cache)
    behind = make("cache")
    target = real.cached("a.safetensors")
    (real.models / "loras").mkdir()
    written = tmp_path / ("cache" if is_literal else "real") / "a.safetensors"
    place = real.models / "loras" / NAME
    place.symlink_to(written)
    for links in (behind.links, real.links):
        assert links.ensure("loras", NAME, behind.cache / "a.safetensors") == place
        assert links.ensure("loras", NAME, target) == place
        assert place.readlink() == written
        with pytest.raises(errors.LinkOccupied):
            links.ensure("loras", NAME, real.cached("b.safetensors"))


def test_two_instances_of_one_cache_link_at_once(here: Instance) -> None:
    targets = [here.cached(f"{number}.safetensors") for number in range(20)]

    def ensure_all(_: int) -> list[Path]:
        links = here.links
        return [links.ensure("loras", target.name, target) for target in targets]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(ensure_all, range(8)))
    expected = [here.models / "loras" / target.name for target in targets]
    assert found == [expected] * 8


def test_of_two_that_want_one_name_at_once_one_gets_it(here: Instance) -> None:
    targets = [here.cached(f"{number}.safetensors") for number in range(8)]

    def ensure(target: Path) -> Path | None:
        try:
            return here.links.ensure("loras", NAME, target)
        except errors.LinkOccupied:
            return None

    with ThreadPoolExecutor(8) as pool:
        found = [path for path in pool.map(ensure, targets) if path]
    assert len(found) == 1


@pytest.mark.skipif(not Path("/proc/sys").is_dir(), reason="needs a folder that takes no file")
def test_a_models_folder_that_takes_no_link_is_gone_round(here: Instance) -> None:
    links = Links(Path("/proc/sys"), here.cache, here.cache / "links")
    target = here.cached("a.safetensors")
    path = links.ensure("loras", NAME, target)
    assert path == here.cache / "links" / "loras" / NAME
    assert current(links, target)
    assert links.ensure("loras", NAME, target) == path


READ_ONLY = """
import sys
from pathlib import Path
from gateway.models.links import Links
models, cache = map(Path, sys.argv[1:])
target = cache / "a.safetensors"
print(Links(models, cache, cache / "links").ensure("loras", "x/m.safetensors", target))
"""


@pytest.mark.parametrize("has_folder", [True, False])
def test_a_models_folder_mounted_read_only_is_gone_round(here: Instance, has_folder: bool) -> None:
    if has_folder:
        (here.models / "loras").mkdir()
    here.cached("a.safetensors")
    mount = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && exec "$3" -c "$4" "$1" "$2"'
    done = subprocess.run(
        [
            *("unshare", "--map-root-user", "--mount", "sh", "-c", mount, "sh"),
            *(str(here.models), str(here.cache), sys.executable, READ_ONLY),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip("no mounts here")
    assert done.stdout.strip() == str(here.cache / "links" / "loras" / "x" / "m.safetensors")
    assert done.returncode == 0


def test_no_place_for_a_link_is_told(here: Instance) -> None:
    (here.cache / "links").rmdir()
    (here.cache / "links").touch()
    (here.models / "loras").mkdir()
    (here.models / "loras" / NAME).symlink_to("/another/cache")
    with pytest.raises(errors.LinkOccupied, match=r"in the way|taken"):
        here.links.ensure("loras", NAME, here.cached("a.safetensors"))

    links = Links(here.models, here.cache, Path("/proc/sys/links"))
    with pytest.raises(errors.InternalError, match="cannot be made in CACHE_DIR/links:"):
        links.ensure("loras", NAME, here.cached("a.safetensors"))


@pytest.mark.parametrize("folder", ["", ".", "..", "../x", "a/b", "a\0b"])
def test_a_folder_outside_is_refused(here: Instance, folder: str) -> None:
    with pytest.raises(errors.UnknownModelType):
        here.links.ensure(folder, NAME, here.cached("a.safetensors"))


@pytest.mark.parametrize("name", ["../x.pt", "/x.pt", "a\0.pt", "x" * 300])
def test_a_name_outside_is_refused(here: Instance, name: str) -> None:
    assert not current(here.links, here.cached("a.safetensors"), "loras", name)
    with pytest.raises(errors.InvalidInput):
        here.links.ensure("loras", name, here.cached("a.safetensors"))


def test_a_place_is_told_without_the_path_of_this_machine() -> None:
    roots = (Path("/cache/links"), Path("/models"))
    assert place(Path("/cache/links/loras/a/x.pt"), roots) == "loras/a/x.pt"
    assert place(Path("/models/vae/x.pt"), roots) == "vae/x.pt"
    # A custom node's own folder.
    assert place(Path("/home/me/ComfyUI/models/mine/x.pt"), roots) == "mine/x.pt"
