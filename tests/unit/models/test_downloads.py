"""What is shown of downloads."""

from __future__ import annotations

from gateway.models.downloads import Board


def test_the_running_come_first_then_the_last_that_ended() -> None:
    board = Board()
    for at in range(120):
        download = board.begin(f"https://h/{at}", f"{at}.bin")
        download.end("It broke." if at % 2 else None)
        board.finish(download)
    board.begin("https://h/a", "a.bin")
    board.begin("https://h/b", "b.bin").progress(5, None)

    shown = board.shown()

    assert [(one.filename, one.state) for one in shown[:4]] == [
        ("b.bin", "fetching"),
        ("a.bin", "wanted"),
        ("119.bin", "failed"),
        ("118.bin", "present"),
    ]
    assert len(shown) == 102
    assert (shown[2].error, shown[3].error) == ("It broke.", None)
    assert shown[0].started_at.endswith("Z")


def test_what_was_there_before_is_no_arrival() -> None:
    board = Board()
    download = board.begin("https://h/a", "a.bin")
    download.progress(700, 1000)
    download.progress(1000, 1000)

    assert download.arrived == 300
    assert (download.shown().bytes, download.shown().total) == (1000, 1000)
