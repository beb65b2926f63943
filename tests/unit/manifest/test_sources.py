"""Custom nodes as the manifest writes them."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.manifest.sources import GitNode, RegistryNode, parse, same_repository

SHA = "0123456789abcdef0123456789abcdef01234567"

GIT = [
    # GitHub
    ("https://github.com/o/r", "https://github.com/o/r", None),
    ("https://github.com/o/r/", "https://github.com/o/r", None),
    ("https://github.com/o/r.git", "https://github.com/o/r.git", None),
    ("https://github.com/o/r.git/", "https://github.com/o/r.git", None),
    ("https://GitHub.com/o/R", "https://github.com/o/R", None),
    ("  https://github.com/o/r  ", "https://github.com/o/r", None),
    ("https://github.com/o/r?tab=readme-ov-file", "https://github.com/o/r", None),
    ("https://github.com/o/r#readme", "https://github.com/o/r", None),
    ("https://github.com/o/r/tree/main", "https://github.com/o/r", "main"),
    ("https://github.com/o/r/tree/main/", "https://github.com/o/r", "main"),
    ("https://github.com/o/r/tree/feature/x", "https://github.com/o/r", "feature/x"),
    ("https://github.com/o/r/tree/a%2Bb", "https://github.com/o/r", "a+b"),
    ("https://github.com/o/r/tree/v1?tab=readme", "https://github.com/o/r", "v1"),
    ("https://github.com/o/r/tree/pkg@1.0", "https://github.com/o/r", "pkg@1.0"),
    (f"https://github.com/o/r/commit/{SHA}", "https://github.com/o/r", SHA),
    ("https://github.com/o/r/commits/main", "https://github.com/o/r", "main"),
    ("https://github.com/o/r/releases/tag/v1.2.3", "https://github.com/o/r", "v1.2.3"),
    ("https://github.com/o/r@v1", "https://github.com/o/r", "v1"),
    ("https://github.com/o/r@feature/x", "https://github.com/o/r", "feature/x"),
    ("https://github.com/o/r@feature/tree/x", "https://github.com/o/r", "feature/tree/x"),
    ("https://github.com/o/r.git@v1", "https://github.com/o/r.git", "v1"),
    ("https://github.com/o/r.git/tree/v1", "https://github.com/o/r.git", "v1"),
    ("git+https://github.com/o/r.git@v1#egg=r", "https://github.com/o/r.git", "v1"),
    ("git+https://github.com/o/r@v1", "https://github.com/o/r", "v1"),
    # GitLab, in groups of any depth
    ("https://gitlab.com/g/r", "https://gitlab.com/g/r", None),
    ("https://gitlab.com/g/s/t/r", "https://gitlab.com/g/s/t/r", None),
    ("https://gitlab.com/g/s/r.git", "https://gitlab.com/g/s/r.git", None),
    ("https://gitlab.com/g/s/r@v1", "https://gitlab.com/g/s/r", "v1"),
    ("https://gitlab.com/g/r/-/tree/main", "https://gitlab.com/g/r", "main"),
    ("https://gitlab.com/g/s/r/-/tree/f/x?ref_type=heads", "https://gitlab.com/g/s/r", "f/x"),
    (f"https://gitlab.com/g/s/r/-/commit/{SHA}", "https://gitlab.com/g/s/r", SHA),
    ("https://gitlab.com/g/s/r/-/tags/v1.0", "https://gitlab.com/g/s/r", "v1.0"),
    ("https://git.example.org:8443/g/s/r/-/tree/v1", "https://git.example.org:8443/g/s/r", "v1"),
    # Bitbucket
    ("https://bitbucket.org/o/r", "https://bitbucket.org/o/r", None),
    ("https://bitbucket.org/o/r/src/main/", "https://bitbucket.org/o/r", "main"),
    ("https://bitbucket.org/o/r/src/feature/x/", "https://bitbucket.org/o/r", "feature/x"),
    (f"https://bitbucket.org/o/r/src/{SHA}/?at=main", "https://bitbucket.org/o/r", SHA),
    (f"https://bitbucket.org/o/r/commits/{SHA}", "https://bitbucket.org/o/r", SHA),
    ("https://bitbucket.org/o/r/commits/tag/v1", "https://bitbucket.org/o/r", "v1"),
    ("https://bitbucket.org/o/r/branch/x", "https://bitbucket.org/o/r", "x"),
    # Gitea and Forgejo
    ("https://codeberg.org/o/r/src/branch/main", "https://codeberg.org/o/r", "main"),
    ("https://codeberg.org/o/r/src/tag/v1", "https://codeberg.org/o/r", "v1"),
    (f"https://codeberg.org/o/r/src/commit/{SHA}", "https://codeberg.org/o/r", SHA),
    # ssh, and others
    ("git@github.com:o/r.git", "git@github.com:o/r.git", None),
    ("git@github.com:o/r", "git@github.com:o/r", None),
    ("git@github.com:o/r.git@v1", "git@github.com:o/r.git", "v1"),
    ("git@gitlab.com:g/s/r.git", "git@gitlab.com:g/s/r.git", None),
    ("ssh://git@github.com/o/r.git", "ssh://git@github.com/o/r.git", None),
    ("ssh://git@host:2222/o/r.git@v1", "ssh://git@host:2222/o/r.git", "v1"),
    ("git+ssh://git@github.com/o/r.git@v1", "ssh://git@github.com/o/r.git", "v1"),
    ("git://host/r.git", "git://host/r.git", None),
    ("http://127.0.0.1:8000/r.git", "http://127.0.0.1:8000/r.git", None),
    ("https://[::1]:8000/o/r", "https://[::1]:8000/o/r", None),
    ("file:///srv/git/r.git@v1", "file:///srv/git/r.git", "v1"),
]


@pytest.mark.parametrize(("text", "url", "ref"), GIT)
def test_git_urls(text: str, url: str, ref: str | None) -> None:
    found = parse(text, ["/srv/git"])
    assert found == GitNode(url=url, ref=ref)
    assert found.name.lower() == "r"


@pytest.mark.parametrize(
    ("text", "name", "version"),
    [
        ("comfyui-kjnodes", "comfyui-kjnodes", None),
        ("comfyui_essentials@1.0.0", "comfyui_essentials", "1.0.0"),
        ("x@nightly", "x", "nightly"),
        ("x@1.0.0-rc.1+b2", "x", "1.0.0-rc.1+b2"),
    ],
)
def test_names_of_the_registry(text: str, name: str, version: str | None) -> None:
    assert parse(text) == RegistryNode(name=name, version=version)
    assert parse(text).shown == text


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "a registry name or a git URL"),
        ("-x", "an option"),
        ("--upload-pack=touch x", "an option"),
        ("../x", "a registry name"),
        ("/abs/x", "a registry name"),
        ("./x", "a registry name"),
        (".", "a registry name"),
        ("a b", "a registry name"),
        ("a;b", "a registry name"),
        ("x@-1", "a registry name"),
        ("x\nname", "a registry name or a git URL"),
        ("https://github.com/o/r\x00", "a registry name or a git URL"),
        ("owner/repo", "https://github.com/owner/repo"),
        ("github.com/o/r", "https://github.com/o/r"),
        ("ext::sh -c touch% x", "remote helpers"),
        ("ext::https://github.com/o/r", "git does not fetch from"),
        ("ftp://host/o/r", "git does not fetch from ftp"),
        ("file:///etc/r.git", "ALLOWED_FILE_ROOTS"),
        ("file:///srv/git/../../etc/r.git", "ALLOWED_FILE_ROOTS"),
        ("file:///srv/gitx/r.git", "ALLOWED_FILE_ROOTS"),
        ("file://host/srv/git/r.git", "ALLOWED_FILE_ROOTS"),
        ("https:///o/r", "not the name of a host"),
        ("https://-oProxyCommand=x/o/r", "not the name of a host"),
        ("ssh://-oProxyCommand=x@host/o/r", "the user of the URL"),
        ("-oProxyCommand=x@host:o/r", "an option"),
        ("git@host:-x/r", "an option"),
        ("https://github.com/", "names no repository"),
        ("https://github.com/o", "OWNER/NAME"),
        ("https://github.com/o/r/pull/7", "OWNER/NAME@REF"),
        ("https://github.com/o/r/tree/", "OWNER/NAME@REF"),
        ("https://github.com/o/r/tree/..", "cannot be a branch"),
        ("https://github.com/o/r@--upload-pack=x", "cannot be a branch"),
        ("https://github.com/o/r@a%20b", "cannot be a branch"),
        ("https://github.com/o/r@a%00b", "cannot be a branch"),
        ("https://github.com/o/r@a~1", "cannot be a branch"),
        ("https://github.com/o/r@x.lock", "cannot be a branch"),
        ("https://host/o/..", "name of a folder"),
        ("https://host/o/.git", "name of a folder"),
        ("https://host/o/-r", "name of a folder"),
        ("https://host/o/a%2Fb", "name of a folder"),
        (f"https://host/o/{'r' * 101}", "name of a folder"),
        ("https://[::1/o/r", "not a URL"),
    ],
)
def test_what_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence.replace("(", r"\(")):
        parse(text, ["/srv/git"])


def test_users_and_passwords_are_apart() -> None:
    found = parse("https://me:p%40ss@host.example/o/r@v1")
    assert isinstance(found, GitNode)
    assert found.credentials == "me:p@ss"
    assert "p@ss" not in f"{found!r} {found.shown} {found.url}"


def test_a_password_for_ssh_is_dropped() -> None:
    assert parse("ssh://git:secret@host/o/r") == GitNode(url="ssh://git@host/o/r")


@given(st.text(max_size=60))
def test_nothing_but_names_and_sentences(text: str) -> None:
    for given_text in (text, f"https://github.com/{text}", f"https://github.com/o/r@{text}"):
        with contextlib.suppress(ValueError):
            found = parse(given_text)
            assert "/" not in found.name
            assert found.name[0] not in ".-"


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("https://github.com/o/r", "https://github.com/o/r.git", True),
        ("https://github.com/o/r", "git@github.com:o/r.git", True),
        ("https://github.com/o/r", "ssh://git@github.com/o/r", True),
        ("https://github.com/o/r", "https://token@GitHub.com/O/r/", True),
        ("https://github.com/o/r", "https://github.com/fork/r", False),
        ("https://github.com/o/r", "https://gitlab.com/o/r", False),
        ("https://github.com/o/r", "", False),
    ],
)
def test_one_repository_in_many_forms(one: str, other: str, expected: bool) -> None:
    assert same_repository(one, other) is expected
