"""Definitions of nodes that are the same as before convert nothing anew."""

from __future__ import annotations

import threading
from typing import Any

from tests.contract.canvas_folder import CANVAS, OBJECT_INFO, Comfy
from tests.contract.workflow_folder import put


class _Compared(dict[str, Any]):
    """Definitions that tell which threads compared them."""

    def __init__(self, *entries: Any) -> None:
        super().__init__(*entries)
        self.compared_by: list[int] = []

    def __ne__(self, other: object) -> bool:
        self.compared_by.append(threading.get_ident())
        return dict(self) != other


async def test_they_are_compared_with_those_before_and_in_a_thread(tmp_path):
    put(tmp_path, "a.json", CANVAS)
    comfy = Comfy()
    catalog = await comfy.loaded(tmp_path)
    first = comfy.definitions = _Compared(OBJECT_INFO)

    await catalog.convert_anew()
    await catalog.convert_anew()
    assert first.compared_by == []
    version = catalog.version

    second = comfy.definitions = _Compared(OBJECT_INFO)
    await catalog.convert_anew()
    assert catalog.version == version
    assert second.compared_by
    assert threading.get_ident() not in second.compared_by
