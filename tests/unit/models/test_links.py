from __future__ import annotations

import pytest

from gateway import errors
from gateway.models.link_names import checked_filename, checked_folder, checked_name
from gateway.models.link_plan import Action, Found, Kind, decide

LINK = Kind.LINK
A_LINK = {
    "wanted": Found(LINK, is_wanted=True, is_ours=True, is_present=True),
    "wanted, dangling": Found(LINK, is_wanted=True, is_ours=True),
    "our other file": Found(LINK, is_ours=True, is_present=True),
    "our other file, dangling": Found(LINK, is_ours=True),
    "another's": Found(LINK, is_present=True),
    "another's, dangling": Found(LINK),
}


@pytest.mark.parametrize(
    ("found", "in_models", "in_cache_links"),
    [
        (Found(Kind.NOTHING), Action.MAKE, Action.MAKE),
        (Found(Kind.FILE), Action.REFUSE, Action.REFUSE),
        (Found(Kind.FOLDER), Action.REFUSE, Action.REFUSE),
        (Found(Kind.UNREADABLE), Action.AVOID, Action.MAKE),
        (A_LINK["wanted"], Action.KEEP, Action.KEEP),
        (A_LINK["wanted, dangling"], Action.KEEP, Action.KEEP),
        (A_LINK["our other file"], Action.REFUSE, Action.REFUSE),
        (A_LINK["our other file, dangling"], Action.AVOID, Action.REPLACE),
        (A_LINK["another's"], Action.AVOID, Action.REFUSE),
        (A_LINK["another's, dangling"], Action.AVOID, Action.REPLACE),
    ],
)
def test_what_lies_there_tells_what_to_do(
    found: Found, in_models: Action, in_cache_links: Action
) -> None:
    assert decide(found, is_private=False) is in_models
    assert decide(found, is_private=True) is in_cache_links


def test_nothing_in_the_models_folder_is_ever_replaced() -> None:
    every = [
        Found(kind, is_wanted=wanted, is_ours=ours, is_present=present)
        for kind in Kind
        for wanted in (True, False)
        for ours in (True, False)
        for present in (True, False)
    ]
    assert all(decide(found, is_private=False) is not Action.REPLACE for found in every)


@pytest.mark.parametrize(
    "name",
    [
        "model.safetensors",
        "folder/model.safetensors",
        "a/b/c.ckpt",
        "with blanks (v1.0) é 模型.safetensors",
        "no_extension",
        "x" * 255,
        "a..b.pt",
    ],
)
def test_a_plain_name_is_taken(name: str) -> None:
    assert checked_name(name) == name


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "is empty"),
        (" ", "is empty"),
        ("..", "leaves its folder"),
        ("../x.pt", "leaves its folder"),
        ("a/../../x.pt", "leaves its folder"),
        ("/etc/x.pt", "is an absolute path"),
        ("~/x.pt", "is an absolute path"),
        ("C:/x.pt", "is an absolute path"),
        ("a\\b.pt", "has a backslash"),
        ("a\0.pt", "has a control character"),
        ("a\n.pt", "has a control character"),
        ("a\udcff.pt", "has characters that are not valid text"),
        ("a//b.pt", "has an empty part or begins with a dot"),
        ("a/", "has an empty part or begins with a dot"),
        ("./a.pt", "has an empty part or begins with a dot"),
        (".hidden", "has an empty part or begins with a dot"),
        ("x" * 300, "has a part of 300 bytes; at most 255 are allowed"),
        ("é" * 128, "has a part of 256 bytes"),
        ("a/" * 600 + "x.pt", "is too long; at most 1024 bytes are allowed"),
    ],
)
def test_an_odd_name_is_refused_with_the_reason(name: str, reason: str) -> None:
    with pytest.raises(errors.InvalidInput) as refused:
        checked_name(name, "filename")
    assert reason in refused.value.message
    assert refused.value.status == 400
    assert refused.value.location == "filename"
    assert refused.value.hint


@pytest.mark.parametrize("name", ["a/b.pt", "x" * 300, "a\\b.pt"])
def test_a_filename_is_refused_with_a_hint_that_would_be_taken(name: str) -> None:
    with pytest.raises(errors.InvalidInput) as refused:
        checked_filename(name)
    assert refused.value.location == "filename"
    assert "/" not in (refused.value.hint or "")


KNOWN = {"checkpoints", "loras", "text_encoders", "diffusion_models", "vae"}


@pytest.mark.parametrize(
    ("given", "folder"),
    [("loras", "loras"), ("clip", "text_encoders"), ("unet", "diffusion_models")],
)
def test_a_known_folder_is_taken(given: str, folder: str) -> None:
    assert checked_folder(given, KNOWN) == folder


@pytest.mark.parametrize("given", ["lora", "../x", "", "vae/../..", "x" * 1000, "loras/", "\0"])
def test_an_unknown_folder_is_refused_with_the_known_ones(given: str) -> None:
    with pytest.raises(errors.UnknownModelType) as refused:
        checked_folder(given, KNOWN)
    assert refused.value.status == 400
    assert all(name in (refused.value.hint or "") for name in KNOWN)
    assert len(refused.value.message) < 200


def test_the_closest_folder_comes_first() -> None:
    with pytest.raises(errors.UnknownModelType) as refused:
        checked_folder("lora", KNOWN)
    assert "ones: loras, " in (refused.value.hint or "")
    assert refused.value.details["closest"][0] == "loras"
