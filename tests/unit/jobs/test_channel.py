"""The buffer of one job's events: what is kept, replaced, replayed and lost."""

from __future__ import annotations

import json
from typing import Any

from gateway.jobs import channel as channels
from gateway.jobs.channel import Channel, Reader

FIRST = 1000


def make() -> Channel:
    return Channel(FIRST)


def reading(channel: Channel, last_id: int | None = None, *, previews: bool = False) -> Reader:
    return Reader(channel, last_id, previews=previews, on_news=lambda: None)


def parsed(raw: bytes) -> list[tuple[int, str, dict[str, Any]]]:
    found = []
    for block in raw.decode().split("\n\n")[:-1]:
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        found.append((int(fields["id"]), fields["event"], json.loads(fields["data"])))
    return found


def kinds(raw: bytes) -> list[str]:
    return [kind for _, kind, _ in parsed(raw)]


def running(channel: Channel, number: int = FIRST + 1) -> None:
    channel.add(number, "state", {"state": "running", "attempt": 1}, ("running", 1))


def over(channel: Channel, number: int) -> None:
    channel.add(number, "state", {"state": "succeeded", "attempt": 1}, ("succeeded", 1))


def step(channel: Channel, number: int, value: float = 0.5) -> None:
    channel.add(number, "progress", {"value": value})


def test_an_event_is_written_once_for_all() -> None:
    channel = make()
    running(channel)
    first, second = reading(channel), reading(channel)
    assert first.take() is second.take()
    assert parsed(channel.since(None, previews=False)) == [
        (1001, "state", {"state": "running", "attempt": 1})
    ]
    assert first.take() == b""


def test_nothing_is_said_before_the_state_is_known() -> None:
    channel = make()
    step(channel, 1001)
    reader = reading(channel)
    assert reader.take() == b""
    running(channel, 1002)
    assert kinds(reader.take()) == ["state", "progress"]


def test_who_comes_hears_the_state_the_outputs_and_the_newest_progress() -> None:
    channel = make()
    running(channel)
    channel.add(1002, "log", {"level": "info", "message": "x"})
    for number in range(1003, 1010):
        step(channel, number, number / 2000)
    channel.add(1010, "output", {"index": 0}, "a")
    channel.add(1011, "output", {"index": 1}, "b")
    reader = reading(channel)
    assert [(kind, number) for number, kind, _ in parsed(reader.take())] == [
        ("state", 1001),
        ("progress", 1009),
        ("output", 1010),
        ("output", 1011),
    ]


def test_who_is_cut_off_after_the_first_state_hears_the_rest() -> None:
    channel = make()
    running(channel)
    channel.add(1002, "output", {"index": 0}, "a")
    channel.add(1003, "state", {"state": "delivering", "attempt": 1}, ("delivering", 1))
    (first, kind, data), *_ = parsed(reading(channel).take())
    assert (kind, data["state"]) == ("state", "delivering")
    assert kinds(reading(channel, first).take()) == ["output", "state"]


def test_of_a_job_that_is_over_the_terminal_state_is_the_last() -> None:
    channel = make()
    running(channel)
    channel.add(1002, "output", {"index": 0}, "a")
    over(channel, 1003)
    reader = reading(channel)
    assert not reader.is_over
    assert kinds(reader.take()) == ["output", "state"]
    assert reader.is_over


def test_an_id_is_gone_on_from() -> None:
    channel = make()
    running(channel)
    for number in range(1002, 1006):
        step(channel, number)
    assert [number for number, *_ in parsed(reading(channel, 1003).take())] == [1004, 1005]
    assert reading(channel, 1005).take() == b""


def test_an_id_of_another_run_says_nothing() -> None:
    channel = make()
    running(channel)
    step(channel, 1002)
    for stranger in (0, 5, FIRST, 1003, 10**18):
        assert kinds(reading(channel, stranger).take()) == ["state", "progress"]


def test_a_slow_reader_loses_progress_and_lines_and_no_state_or_output() -> None:
    channel = make()
    reader = reading(channel)
    running(channel)
    reader.take()
    number = 1002
    for round_ in range(300):
        step(channel, number)
        channel.add(number + 1, "log", {"level": "info", "message": str(round_)})
        channel.add(number + 2, "output", {"index": round_}, round_)
        number += 3
    over(channel, number)
    found = kinds(reader.take())
    assert found.count("output") == 300
    assert found.count("progress") == channels.PROGRESS_KEPT
    assert found.count("log") == channels.LOGS_KEPT
    assert found[-1] == "state"
    assert reader.is_over


def test_ids_rise_in_what_is_taken() -> None:
    channel = make()
    reader = reading(channel)
    running(channel)
    reader.take()
    channel.add(1002, "output", {"index": 0}, "a")
    step(channel, 1003)
    channel.add(1004, "output", {"index": 0, "size": 1}, "a")
    over(channel, 1005)
    numbers = [number for number, *_ in parsed(reader.take())]
    assert numbers == [1003, 1004, 1005]


def test_only_the_newest_picture_is_kept_and_only_for_those_who_asked() -> None:
    channel = make()
    running(channel)
    asked, other = reading(channel, previews=True), reading(channel)
    asked.take()
    other.take()
    for number in range(1002, 1005):
        channel.add(number, "preview", {"data_base64": str(number)})
    assert [data for _, _, data in parsed(asked.take())] == [{"data_base64": "1004"}]
    assert other.take() == b""
    assert other.cursor == 1004


def test_a_state_that_comes_again_replaces_its_older_self() -> None:
    channel = make()
    for number in range(1001, 2001):
        state = "queued" if number % 2 else "running"
        channel.add(number, "state", {"state": state, "attempt": 1}, (state, 1))
    channel.add(2001, "state", {"state": "queued", "attempt": 2}, ("queued", 2))
    assert [number for number, *_ in parsed(reading(channel, 1001).take())] == [1999, 2000, 2001]


def test_a_line_breaks_no_event() -> None:
    channel = make()
    running(channel)
    reader = reading(channel)
    reader.take()
    channel.add(1002, "log", {"level": "info", "message": "a\nid: 7\n\nevent: state\r\u2028é"})
    ((number, kind, data),) = parsed(reader.take())
    assert (number, kind) == (1002, "log")
    assert data["message"].startswith("a\nid: 7")


def test_a_dismissed_reader_ends() -> None:
    called = []
    channel = make()
    reader = Reader(channel, None, previews=False, on_news=lambda: called.append(1))
    reader.dismiss()
    assert reader.is_over
    assert not reader.is_told
    assert called == [1]
