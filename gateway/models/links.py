"""What ComfyUI sees of the cache: MODEL_DIR/<folder>/<name> -> the cached file.

Many instances may share MODEL_DIR, each with a cache of its own, and in containers the path of
that cache is often the same for all. So nothing that lies in MODEL_DIR is ever changed: where it
is not ours, or cannot be told from a neighbour's, the link is made in CACHE_DIR/links, which
ComfyUI searches first and which is ours alone.
"""

from __future__ import annotations

import contextlib
import os
import stat
import threading
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

from cachetools import LRUCache

from gateway import errors
from gateway.models.link_names import checked_name
from gateway.models.link_plan import Action, Found, Kind, decide
from gateway.storage.failures import disk_failure

#: Others may make, or remove, something at the very moment: then we look again.
_LOOKS = 10
#: Callers choose the names: what is forgotten is found again on the disk.
_REMEMBERED = 20_000
_PLACES = 100
_OTHER_NAME = (
    "Or fetch it under another name: POST /download with a `filename`, and give that name in the "
    "prompt."
)


class Links:
    """Makes links and knows them; for threads."""

    def __init__(
        self,
        models: Path,
        cache: Path,
        links: Path,
        searched: Mapping[str, Sequence[Path]] | None = None,
    ) -> None:
        """`searched`: folder -> where else ComfyUI looks for it; nothing there may be hidden."""
        self._models = models
        self._links = links
        self._searched = dict(searched or {})
        self._roots = {os.path.abspath(cache), os.path.realpath(cache)}
        self._lock = threading.Lock()
        #: (folder, name) -> the link that ComfyUI follows.
        self._known: LRUCache[tuple[str, str], Path] = LRUCache(_REMEMBERED)
        #: name in the cache -> where ComfyUI sees it.
        self._places: LRUCache[str, LRUCache[str, None]] = LRUCache(_REMEMBERED)

    def ensure(self, folder: str, name: str, target: Path, *, is_part: bool = False) -> Path:
        """Return the link that leads ComfyUI to `target`, made if there is none.

        What is part of a repository lies in CACHE_DIR/links, with all other parts of it: ComfyUI
        reads one folder of a name.

        Raises InvalidInput, LinkOccupied, StorageFull, InternalError.
        """
        _check(folder, name)
        for _ in range(_LOOKS):
            path = self._attempt(folder, name, target, is_part=is_part)
            if path is not None:
                self._remember(folder, name, path, target.name)
                return path
        raise errors.LinkOccupied(
            f"{folder}/{name} could not be linked: others change it all the time.",
            hint=f"Send it again. {_OTHER_NAME}",
        )

    def knows(self, folder: str) -> bool:
        """Whether it is known where ComfyUI looks for this folder's files."""
        return folder in self._searched

    def search(self, folder: str, paths: Sequence[Path]) -> None:
        """Learn where ComfyUI looks for a folder's files: custom nodes register their own."""
        self._searched[folder] = tuple(paths)

    def is_current(self, folder: str, name: str, device: int, inode: int) -> bool:
        """Whether ComfyUI finds this very file under the name; one stat once it is known."""
        with self._lock:
            known = self._known.get((folder, name))
        if known is not None:
            return _identity(known) == (device, inode)
        for path in (self._private(folder, name), *self._shared(folder, name)):
            identity = _identity(path)
            if identity is not None:
                # ComfyUI takes the first that is there, whatever it is.
                if identity == (device, inode):
                    self._learn_one(folder, name, path)
                return identity == (device, inode)
        return False

    def find(self, folder: str, name: str) -> Path | None:
        """Return where ComfyUI finds a file or a folder; None for what is not there."""
        try:
            _check(folder, name)
        except (errors.InvalidInput, errors.UnknownModelType):
            return None
        places = (self._private(folder, name), *self._shared(folder, name))
        return next((path for path in places if _identity(path) is not None), None)

    def places(self, target: Path) -> list[str]:
        """Return where ComfyUI sees a cached file, as folder/name, as far as is known."""
        with self._lock:
            return sorted(self._places.get(target.name, ()))

    def _attempt(self, folder: str, name: str, target: Path, *, is_part: bool) -> Path | None:
        """Return the link that is there, and leads to the target; None: something was done."""
        private = self._private(folder, name)
        found = self._look(private, target)
        action = decide(found, is_private=True)
        if action is Action.KEEP:
            return private
        if action is Action.REFUSE:
            raise _occupied(folder, name, found)
        is_shared = not is_part and action is Action.MAKE
        if is_shared and not self._is_avoided(folder, name, target):
            shared = self._shared(folder, name)
            kept = [path for path in shared if self._look(path, target).is_wanted]
            if kept:
                return kept[0]
            if _made(self._main(folder) / name, target):
                return None
        self._make_private(private, target, action)
        return None

    def _is_avoided(self, folder: str, name: str, target: Path) -> bool:
        """Whether MODEL_DIR holds what is not ours under the name; raises LinkOccupied."""
        looks = [self._look(path, target) for path in self._shared(folder, name)]
        actions = [decide(found, is_private=False) for found in looks]
        for found, action in zip(looks, actions, strict=True):
            if action is Action.REFUSE:
                raise _occupied(folder, name, found)
        return Action.AVOID in actions

    def _private(self, folder: str, name: str) -> Path:
        return self._links / folder / name

    def _main(self, folder: str) -> Path:
        """Return the folder in MODEL_DIR that takes new links."""
        searched, usual = self._searched.get(folder, ()), self._models / folder
        if usual in searched or not searched:
            return usual
        inside = [path for path in searched if path.is_relative_to(self._models)]
        return (inside or searched)[0]

    def _shared(self, folder: str, name: str) -> list[Path]:
        """Return each place outside CACHE_DIR that ComfyUI would find the name at, in order."""
        searched = list(self._searched.get(folder, ()))
        main = self._main(folder)
        return [path / name for path in (searched if main in searched else [main, *searched])]

    def _look(self, path: Path, target: Path) -> Found:
        try:
            mode = path.lstat().st_mode
            if stat.S_ISLNK(mode):
                return self._look_at_link(path, target)
        except FileNotFoundError:
            return Found(Kind.NOTHING)
        except NotADirectoryError:
            return Found(Kind.FILE)
        except OSError:
            return Found(Kind.UNREADABLE)
        return Found(Kind.FOLDER if stat.S_ISDIR(mode) else Kind.FILE)

    def _look_at_link(self, path: Path, target: Path) -> Found:
        parent = os.path.realpath(path.parent)
        spellings = _spellings(os.path.join(parent, path.readlink()))
        return Found(
            Kind.LINK,
            target=os.path.basename(next(iter(spellings))),
            is_wanted=bool(spellings & _spellings(str(target))),
            is_ours=any(
                spelling.startswith(root.rstrip("/") + "/")
                for spelling in spellings
                for root in self._roots
            ),
            is_present=os.path.exists(path),
        )

    def _make_private(self, path: Path, target: Path, action: Action) -> None:
        beside = self._links / f".{uuid.uuid4().hex}.link"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if action is Action.MAKE:
                with contextlib.suppress(FileExistsError):
                    path.symlink_to(target)
                return
            try:
                beside.symlink_to(target)
                beside.replace(path)
            finally:
                beside.unlink(missing_ok=True)
        except OSError as failure:
            raise _unmade(failure, self._links) from failure

    def _remember(self, folder: str, name: str, path: Path, target: str) -> None:
        with self._lock:
            self._known[folder, name] = path
            self._note(folder, name, target)

    def _learn_one(self, folder: str, name: str, path: Path) -> None:
        with contextlib.suppress(OSError):
            pointed = os.path.join(os.path.realpath(path.parent), path.readlink())
            parents = {os.path.dirname(spelling) for spelling in _spellings(pointed)}
            with self._lock:
                self._known[folder, name] = path
                if parents & self._roots:
                    self._note(folder, name, os.path.basename(pointed))

    def _note(self, folder: str, name: str, target: str) -> None:
        self._places.setdefault(target, LRUCache(_PLACES))[f"{folder}/{name}"] = None


def place(path: Path, roots: Sequence[Path]) -> str:
    """Return a link as folder/name; `roots` hold folders of models."""
    root = next((root for root in roots if path.is_relative_to(root)), None)
    # Elsewhere lie the folders of custom nodes; where on this machine is nobody's business.
    return str(path.relative_to(root or path.parent.parent))


def _check(folder: str, name: str) -> None:
    checked_name(name)
    if not folder or folder in (".", "..") or "/" in folder or "\0" in folder:
        raise errors.UnknownModelType(f"{folder[:100]!r} is not the name of a folder of models.")


def _made(path: Path, target: Path) -> bool:
    """Make a link where nothing is; False when MODEL_DIR does not take it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # At once or not at all, and never over anything: no need to make it beside.
        path.symlink_to(target)
    except FileExistsError:
        # A neighbour was faster; or a file is where the folder should be, which shows then.
        return path.parent.is_dir()
    except OSError:
        # Read-only, not ours to write, full, without links, away: CACHE_DIR/links does as well.
        return False
    return True


def _spellings(path: str) -> set[str]:
    """Return a path as written, and as it is below the folder that it lies in for real."""
    written = os.path.abspath(path)
    folder, name = os.path.split(written)
    return {written, os.path.join(os.path.realpath(folder), name)}


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        # ValueError: a name that no path can have; `ensure` tells why.
        return None
    return status.st_dev, status.st_ino


def _occupied(folder: str, name: str, found: Found) -> errors.LinkOccupied:
    what = {
        Kind.FILE: "a file of this name is there already",
        Kind.FOLDER: "a folder of this name is there already",
    }.get(found.kind, f"it is a link to another model, {found.target}")
    return errors.LinkOccupied(
        f"{folder}/{name} is taken: {what}.", hint=f"Remove what is there. {_OTHER_NAME}"
    )


def _unmade(failure: OSError, links: Path) -> errors.GatewayError:
    if isinstance(failure, FileExistsError | NotADirectoryError):
        inside = os.path.relpath(failure.filename, links.parent)
        return errors.LinkOccupied(
            f"CACHE_DIR/{inside} is in the way: a folder is needed there.",
            hint=f"Remove what is there. {_OTHER_NAME}",
        )
    return disk_failure(failure, "CACHE_DIR") or errors.InternalError(
        f"A link cannot be made in CACHE_DIR/links: {failure.strerror}.",
        hint="Let the gateway write to CACHE_DIR.",
    )
