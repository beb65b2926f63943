"""What `gateway models` asks for."""

from __future__ import annotations

from gateway.cli import models


def test_what_is_sent() -> None:
    assert models.Wanted("https://host/a", "loras").body == {
        "url": "https://host/a",
        "model_type": "loras",
        "wait": True,
    }
    assert models.Wanted("https://host/a", "loras", "b.pt", "0" * 64, "t").body == {
        "url": "https://host/a",
        "model_type": "loras",
        "filename": "b.pt",
        "sha256": "0" * 64,
        "auth": {"type": "bearer", "token": "t"},
        "wait": True,
    }


def test_the_url_is_looked_for_as_the_gateway_shows_it() -> None:
    wanted = models.Wanted("https://user:secret@host/a.pt?token=secret&v=1", "loras")
    assert wanted.shown == "https://host/a.pt?token=***&v=1"
