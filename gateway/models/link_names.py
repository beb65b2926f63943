"""Names that callers give to models: what they may look like, and which folders there are."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection

from gateway import errors

#: What ComfyUI has called these folders since; clients still send the old names.
OLD_NAMES = {"clip": "text_encoders", "unet": "diffusion_models"}
_PART_BYTES = 255
_NAME_BYTES = 1024
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_FOLDER = re.compile(r"[^/\\\x00-\x1f\x7f]{1,100}")
_HINT = "Give a name such as model.safetensors, or folder/model.safetensors."
_PLAIN = "Give a plain name, as model.safetensors; model_type names the folder."
_CLOSEST = 3


def checked_name(name: str, location: str | None = None, hint: str = _HINT) -> str:
    """Return a name that a model may bear below its folder; raises InvalidInput.

    Any extension will do: what ComfyUI itself does not list, as .gguf, custom nodes may.
    """
    problem = _problem(name)
    if problem:
        raise errors.InvalidInput(
            f"The name {name[:60]!r} {problem}.", hint=hint, location=location
        )
    return name


def checked_filename(name: str, location: str = "filename") -> str:
    """Return a name without folders, which a model may bear; raises InvalidInput."""
    if "/" in name:
        raise errors.InvalidInput(
            f"The name {name[:60]!r} has a slash.", hint=_PLAIN, location=location
        )
    return checked_name(name, location, _PLAIN)


def checked_folder(
    model_type: str, known: Collection[str], location: str | None = "model_type"
) -> str:
    """Return the folder of a kind of models, by its present name; raises UnknownModelType."""
    folder = OLD_NAMES.get(model_type, model_type)
    if folder in known and _FOLDER.fullmatch(folder):
        return folder
    close = difflib.get_close_matches(folder[:100], sorted(known), _CLOSEST, 0.5)
    others = sorted(set(known) - set(close))
    raise errors.UnknownModelType(
        f"{model_type[:100]!r} is not a folder of models that ComfyUI knows.",
        hint=f"The known ones: {', '.join([*close, *others])}.",
        location=location,
        closest=close or None,
    )


def _problem(name: str) -> str | None:
    parts = name.split("/")
    longest = max(len(part.encode(errors="surrogatepass")) for part in parts)
    checks = {
        "is empty": not name.strip(),
        "has a control character": bool(_CONTROL.search(name)),
        "has characters that are not valid text": not _is_text(name),
        "has a backslash": "\\" in name,
        "is an absolute path": name.startswith(("/", "~")) or name[1:2] == ":",
        "leaves its folder": ".." in parts,
        "has an empty part or begins with a dot": any(
            not part.strip() or part.startswith(".") for part in parts
        ),
        f"has a part of {longest} bytes; at most {_PART_BYTES} are allowed": longest > _PART_BYTES,
        f"is too long; at most {_NAME_BYTES} bytes are allowed": longest <= _PART_BYTES
        and len(name.encode(errors="surrogatepass")) > _NAME_BYTES,
    }
    return next((problem for problem, is_so in checks.items() if is_so), None)


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
