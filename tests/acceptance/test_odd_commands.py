"""Commands and settings that are written wrongly: each ends with a sentence, none with a trace."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway import cli
from tests.acceptance.conftest import Gateway
from tests.acceptance.test_cli_without_gateway import run as run_alone
from tests.docs.running import free_port

Command = Callable[..., int]

KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture
def command(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> Command:
    """What runs the command line here: a process for each would take a second."""
    monkeypatch.setenv("GATEWAY_URL", gateway.url)

    def run(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["gateway", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return int(ended.value.code or 0)

    return run


REFUSED = [
    (("jobs", "--state", "odd"), 1, "state is one of queued"),
    (("jobs", "--limit", "201"), 2, "--limit"),
    (("jobs", "show", ""), 1, "There is no job ''"),
    (("jobs", "show", "?limit=1"), 1, "There is no job '?limit=1'"),
    (("jobs", "watch", ".."), 1, "There is no job '..'"),
    (("jobs", "watch", "a/../b"), 1, "There is no job 'a/../b'"),
    (("jobs", "cancel"), 2, "ID"),
    (("jobs", "cancel", "x#y", "", "é"), 1, "There is no job 'x#y'"),
    (("jobs", "--key", "two\nlines"), 1, "on one line"),
    (("jobs", "--url", "nonsense"), 1, "is not an address"),
    (("webhooks", "ls", "--state", "odd"), 1, "state is one of pending"),
    (("webhooks", "ls", "--limit", "0"), 2, "--limit"),
    (("webhooks", "replay"), 1, "Nothing to send again"),
    (("webhooks", "replay", "x", "--dead"), 1, "not both"),
    (("webhooks", "replay", "../../live", "none"), 1, "There is no delivery '../../live'"),
    (("webhooks", "verify", "/dev/null"), 1, "no secret to verify with"),
    (("submit", "--async", "/nowhere.json"), 1, "No such file"),
]


@pytest.mark.parametrize(("arguments", "status", "says"), REFUSED)
def test_what_is_asked_for_wrongly_is_refused_in_a_sentence(
    command: Command,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    status: int,
    says: str,
) -> None:
    assert command(*arguments) == status
    told = capsys.readouterr().err
    assert says in told
    assert len(told) < 600


SIGNED = ("--id", "a", "--signature", "v1,AAAA")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "webhook-id and webhook-timestamp and webhook-signature"),
        ((*SIGNED, "--timestamp", "9" * 5000), "not a number"),
        ((*SIGNED, "--timestamp", "-5"), "not a number"),
        ((*SIGNED, "--timestamp", "9" * 15), "is another's"),
    ],
)
def test_a_call_that_cannot_be_verified_is_not_valid(
    command: Command,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    says: str,
) -> None:
    monkeypatch.setenv("WEBHOOK_SECRET", KEY)
    assert command("webhooks", "verify", "/dev/null", *arguments) == 1
    told = capsys.readouterr()
    assert told.out.startswith("not valid:")
    assert says in told.out
    assert KEY not in told.out + told.err


def test_a_key_with_its_line_s_end_is_a_key(
    command: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GATEWAY_API_KEY", " first-key\r\n")
    assert command("jobs") == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("name", "status"), [("serve", 2), ("config", 1)])
def test_all_wrong_settings_are_told_at_once(tmp_path: Path, name: str, status: int) -> None:
    wrong = {
        "WEBHOOK_MAX_ATTEMPTS": "0",
        "PROMPT_WEBHOOK_RETRIES": "none",
        "WEBHOOK_RETRY_DELAYS_S": "5,soon",
        "DEAD_LETTER_TTL_S": "-1",
        "WEBHOOK_SECRET": "hidden!",
        "SYSTEM_WEBHOOK_URL": "http://u:hidden@",
        "SYSTEM_WEBHOOK_EVENTS": "nothing",
        "FAIR_SHARE": "maybe",
        "MAX_QUEUE_DEPTH": "-1",
        "MAX_QUEUED_PER_KEY": "1.5",
        "MAX_RUNNING_PER_KEY": "all",
        "MAX_ATTEMPTS": "0",
        "PREPARE_CONCURRENCY": "0",
        "RECYCLE_AFTER_JOBS": "-1",
        "RECYCLE_RSS_GB": "inf",
        "JOB_TTL_S": "nan",
        "OUTPUT_TTL_S": "a week",
        "EXECUTION_STALL_S": "0",
        "CANCEL_ON_DISCONNECT": "perhaps",
    }
    found = run_alone(tmp_path, name, **wrong, PORT=str(free_port()))
    assert found.returncode == status
    for setting, value in wrong.items():
        told = found.stderr.partition(f"{setting}: ")[2].partition("\n")[0]
        assert told, setting
        assert "hidden" in value or f"(given: {value!r})" in told
    assert "hidden" not in found.stderr + found.stdout
    assert not (tmp_path / "state_dir").exists()
