"""What was promised is kept while the gateway and ComfyUI are killed; bench/chaos.py in small."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import chaos
from bench.receiver import Heard

_SMALL = chaos.Size(
    jobs=30, kills=3, pace_s=0.1, longest_s=0.6, pause_s=1.0, for_ever=0.0, patience_s=40.0
)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_what_dies_loses_nothing(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("COMFY_HOME", "COMFY_ARGS", "CMD"):
        monkeypatch.delenv(name, raising=False)

    rows = await chaos.run(_SMALL, seed, tmp_path)

    missed = [str(row) for row in rows if not row.is_met]
    assert not missed, "\n".join([*map(str, rows), (tmp_path / "log").read_text()[-20_000:]])


def test_a_repeated_call_is_laid_to_the_kill_between() -> None:
    heard = [Heard(job_id, at, {}) for job_id, at in (("a", 1.0), ("b", 2.0), ("a", 4.0))]
    repeated_later = [*heard, Heard("b", 6.0, {}), Heard("b", 7.0, {})]

    assert chaos.repeats(heard, [3.0]) == ({3.0: 1}, 0)
    assert chaos.repeats(heard, [5.0]) == ({}, 1)
    assert chaos.repeats(repeated_later, [3.0, 5.0]) == ({3.0: 2}, 1)
