"""Settings: every wrong one told at once, secrets told never, and the folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway import config, errors
from gateway.cli import settings as shown_settings

SECRET = "s3cr3t-value"


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An environment with no setting in it, in a folder of its own."""
    for name in config.Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def load(monkeypatch: pytest.MonkeyPatch, **values: str) -> config.Settings:
    for name, value in {"HOST": "127.0.0.1", **values}.items():
        monkeypatch.setenv(name, value)
    return config.load()


def refused(monkeypatch: pytest.MonkeyPatch, **values: str) -> str:
    with pytest.raises(errors.SettingsInvalid) as failure:
        load(monkeypatch, **values)
    return failure.value.message


WRONG = {
    "PORT": ["-1", "65536", "http"],
    "LOG_LEVEL": ["loud"],
    "MODEL_INPUTS": ["A.b", "A=loras", ".b=loras", "A.=loras", "A.b=", "A.b=../x", "A.b=c,D"],
    "LOG_FORMAT": ["xml"],
    "ENGINE": ["torch"],
    "COMFYUI_PORT_HOST": ["0", "70000"],
    "ALWAYS_RESTART_COMFYUI": ["perhaps"],
    "STARTUP_CHECK_INTERVAL_S": ["0", "-1"],
    "STARTUP_CHECK_MAX_TRIES": ["-1", "1.5"],
    "ALLOW_PRIVATE_NETWORKS": ["10.0.0.0/33", "x/y"],
    "API_KEYS": ["nameless", ":key", "name:", "a:b,c"],
    "CMD": ["run 'it"],
    "SYSTEM_WEBHOOK_EVENTS": ["upload", "all,file_upload", "storage.file_uploaded"],
    "SYSTEM_WEBHOOK_URL": [
        *("ftp://host/", "host/path", "http://", "http:///x", "http://a b/", "http://[::1"),
        *("http://host:0/", "http://host:99999/"),
    ],
    "WEBHOOK_SECRET": ["not base64!", "abcde", "whsec_", "===="],
    "WEBHOOK_MAX_ATTEMPTS": ["0", "-1", "1.5", "many"],
    "PROMPT_WEBHOOK_RETRIES": ["0"],
    "WEBHOOK_RETRY_DELAYS_S": ["abc", "-1", "5,x", "5;30", ",", "nan", "inf", "1e3", "99999999"],
    "DEAD_LETTER_TTL_S": ["-1", "nan", "inf"],
    "JOB_TTL_S": ["inf"],
    "FAIR_SHARE": ["maybe", "2"],
    "MAX_QUEUE_DEPTH": ["-1", "nan"],
    "MAX_QUEUED_PER_KEY": ["-1", "1.5"],
    "MAX_RUNNING_PER_KEY": ["-1", "all"],
    "RECYCLE_AFTER_JOBS": ["-1", "1.5", "inf"],
    "RECYCLE_RSS_GB": ["-0.1", "nan", "inf", "8GB"],
    "PREPARE_CONCURRENCY": ["0"],
    "MAX_BODY_SIZE_MB": ["0", "much", "inf"],
    "MAX_INPUT_MB": ["inf"],
    "MAX_PIXELS": ["0"],
    "MAX_JSON_DEPTH": ["3", "901"],
    "COMFY_QUEUE_DEPTH": ["0", "65"],
    "MAX_ATTEMPTS": ["0"],
    "EXECUTION_STALL_S": ["0"],
    "OUTPUT_TTL_S": ["-1"],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in WRONG.items() for value in values]
)
def test_a_wrong_value_is_told(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    told = refused(monkeypatch, **{name: value})
    assert told.startswith(f"{name}: ")
    assert "Value error" not in told
    assert (f"(given: {value!r})" in told) or name in (*config.SECRETS, "ALLOW_PRIVATE_NETWORKS")


def test_all_wrong_values_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    told = refused(monkeypatch, **{name: values[0] for name, values in WRONG.items()})
    assert {line.partition(":")[0] for line in told.splitlines()} == set(WRONG)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("PORT", "0", 0),
        ("LOG_LEVEL", "DEBUG", "debug"),
        ("ENGINE", "Embedded", "embedded"),
        ("CORS_ORIGINS", " https://a , ,https://b", ("https://a", "https://b")),
        ("ALLOW_PRIVATE_NETWORKS", "10.1.2.3/8,fd00::/8,host,*", None),
        ("API_KEYS", "a:b:c,d:e", ("a:b:c", "d:e")),
        ("ALWAYS_RESTART_COMFYUI", "false", False),
        ("MAX_QUEUE_DEPTH", "", 0),
        ("WEBHOOK_RETRY_DELAYS_S", " 5,, .5, 0 ,31536000", ("5", ".5", "0", "31536000")),
        ("SYSTEM_WEBHOOK_URL", "HTTP://u:p@[::1]:80/x?y", "HTTP://u:p@[::1]:80/x?y"),
    ],
)
def test_right_values(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, expected: object
) -> None:
    found = getattr(load(monkeypatch, **{name: value}), name.lower())
    assert found == expected or (expected is None and len(found) == 4)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"HOST": "::"}, ["HOST=::", "API_KEYS", "ALLOW_INSECURE"]),
        ({"HOST": "0.0.0.0"}, ["HOST=0.0.0.0"]),
        ({"HOST": "gateway.local"}, ["HOST=gateway.local"]),
        ({"HOST": "::", "API_KEYS": ","}, ["HOST=::"]),
        ({"ENGINE": "comfyui"}, ["ENGINE=comfyui needs COMFY_HOME"]),
        ({"COMFY_HOME": "nowhere"}, ["COMFY_HOME=nowhere: there is no main.py"]),
        ({"HTTP_AUTH_HEADER_NAME": "X-A"}, ["HTTP_AUTH_HOSTS", "go together"]),
        ({"HTTP_AUTH_HEADER_VALUE": SECRET}, ["go together"]),
        ({"WARMUP_PROMPT_FILE": "nope.json"}, ["WARMUP_PROMPT_FILE=nope.json: there is no"]),
        ({"API_KEYS_FILE": "nope"}, ["API_KEYS_FILE=nope: there is no"]),
    ],
)
def test_conflicts(
    monkeypatch: pytest.MonkeyPatch, values: dict[str, str], says: list[str]
) -> None:
    told = refused(monkeypatch, **values)
    for words in says:
        assert words in told
    assert SECRET not in told


def test_all_conflicts_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    told = refused(monkeypatch, HOST="::", ENGINE="comfyui", API_KEYS_FILE="", CMD="")
    assert len(told.splitlines()) == 2


@pytest.mark.parametrize(
    "values",
    [
        {"HOST": "::", "API_KEYS": "me:k"},
        {"HOST": "::", "ALLOW_INSECURE": "1"},
        {"HOST": "::1"},
        {"HOST": "localhost"},
        {"HOST": "127.0.0.9"},
        {"CMD": "python main.py", "ENGINE": "comfyui"},
    ],
)
def test_what_may_start(monkeypatch: pytest.MonkeyPatch, values: dict[str, str]) -> None:
    load(monkeypatch, **values)


def test_secrets_are_never_told(monkeypatch: pytest.MonkeyPatch) -> None:
    told = refused(monkeypatch, API_KEYS=f"{SECRET},b:{SECRET}", PORT="-1", MAX_PIXELS="0")
    assert SECRET not in told
    secret = {
        "API_KEYS": f"me:{SECRET}",
        "HTTP_AUTH_HEADER_NAME": "X-A",
        "HTTP_AUTH_HEADER_VALUE": SECRET,
        "HTTP_AUTH_HOSTS": "host",
        "PORT": "1",
        "MAX_PIXELS": "1",
    }
    rows = shown_settings.sources(load(monkeypatch, **secret))
    shown = {name: (value, source) for name, value, source in rows}
    assert SECRET not in str(rows)
    assert shown["API_KEYS"] == ("***", "environment")
    assert shown["HTTP_AUTH_HEADER_VALUE"] == ("***", "environment")
    assert shown["HTTP_AUTH_HOSTS"] == ("host", "environment")
    assert shown["COMFY_HOME"] == ("", "default")
    assert len(rows) == len(config.Settings.model_fields)


def test_folders_without_a_comfyui(monkeypatch: pytest.MonkeyPatch, bare: Path) -> None:
    settings = load(monkeypatch)
    assert settings.engine_kind == "embedded"
    expected = {
        "models": "models",
        "inputs": "state/input",
        "outputs": "state/output",
        "temp": "state/temp",
        "custom_nodes": "custom_nodes",
        "cache": "cache",
        "state": "state",
    }
    for name, folder in expected.items():
        assert getattr(settings, name) == bare / folder


def test_folders_of_a_comfyui(monkeypatch: pytest.MonkeyPatch, bare: Path) -> None:
    home = bare / "comfy home"
    home.mkdir()
    (home / "main.py").touch()
    settings = load(monkeypatch, COMFY_HOME=str(home), OUTPUT_DIR="out", TEMP_DIR="scratch")
    assert settings.engine_kind == "comfyui"
    expected = {
        "models": home / "models",
        "inputs": home / "input",
        "outputs": bare / "out",
        "temp": bare / "scratch/temp",
        "custom_nodes": home / "custom_nodes",
        "state": bare / "state",
    }
    for name, folder in expected.items():
        assert getattr(settings, name) == folder
    assert settings.engine_python() == "python3"
    python = home / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.touch()
    assert settings.engine_python() == str(python)
    assert load(monkeypatch, COMFY_PYTHON="/opt/py").engine_python() == "/opt/py"


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8188"),
        ("0.0.0.0", "http://127.0.0.1:8188"),
        ("::", "http://[::1]:8188"),
        ("fd00::7", "http://[fd00::7]:8188"),
        ("comfy", "http://comfy:8188"),
    ],
)
def test_the_childs_address(monkeypatch: pytest.MonkeyPatch, address: str, url: str) -> None:
    assert load(monkeypatch, DIRECT_ADDRESS=address).comfy_url == url


def test_without_a_secret_webhooks_have_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(monkeypatch).webhook_key is None
    assert load(monkeypatch, WEBHOOK_SECRET="c2VjcmV0").webhook_key == b"secret"


def test_system_events_and_what_travels_along(monkeypatch: pytest.MonkeyPatch) -> None:
    found = load(
        monkeypatch,
        SYSTEM_WEBHOOK_EVENTS="status, file_uploaded",
        SYSTEM_META_region="eu",
        SYSTEM_META_POD="7",
        SYSTEM_META_="nameless",
    )
    assert found.system_webhook_events == ("status", "file_uploaded")
    assert found.system_meta == {"region": "eu", "POD": "7"}


def test_a_wrong_secret_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    told = refused(monkeypatch, WEBHOOK_SECRET=SECRET + "!", SYSTEM_WEBHOOK_URL=f"ftp://{SECRET}@h")
    assert SECRET not in told
    assert "WEBHOOK_SECRET" in told
    assert "SYSTEM_WEBHOOK_URL" in told
