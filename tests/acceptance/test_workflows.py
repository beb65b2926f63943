"""Named workflows through a real gateway: found, called, answered."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from PIL import Image

from tests.acceptance import named
from tests.acceptance.conftest import Gateway, png, refused
from tests.acceptance.graphs import picture_of


@pytest.fixture(scope="module")
def gateway(
    start: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    folder = named.write(tmp_path_factory.mktemp("workflows"))
    with start(WORKFLOW_DIR=str(folder), MAX_BODY_SIZE_MB="1") as found:
        yield found


class TestCall:
    async def test_values_by_the_names_of_parameters(self, gateway: Gateway) -> None:
        answer = await gateway.ask("/workflow/color", {"input": {"side": 16, "color": 0xFF0000}})
        picture = picture_of(answer)
        assert (picture.size, picture.getpixel((0, 0))) == ((16, 16), (255, 0, 0))
        found = answer.json
        used = {"side": 16, "color": 0xFF0000, "name": "hello", "kind": "plain"}
        assert (found["workflow"], found["input"]) == ("color", used)
        assert found["prompt"]["1"]["inputs"]["width"] == 16
